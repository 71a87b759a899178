# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
"""The page's words in both languages: (English, Japanese), or (English for one, English for any number, Japanese) of {n}.

What hosts and roles say (names, values, diffs, messages) is not translated: it is what an operator will search for.
"""

WORDS = {
    # frame
    "title": ("Mail hosts: drift and ceilings", "メールホストの状態：差異と上限"),
    "language": ("Language", "言語"),
    "as_of": ("as of {when}", "{when} 現在"),
    "took": ("checked in {seconds} s", "調査 {seconds} 秒"),
    "all_well": ("All is as declared, and no ceiling is near.", "すべて宣言どおりで、上限に近いものもありません。"),
    "all_declared": (
        "All is as declared. How near the ceilings are was not measured on every host.",
        "すべて宣言どおりです。ただし上限までの余裕を測っていないホストがあります。",
    ),
    "attention": (
        "{n} of {all} host needs attention.",
        "{n} of {all} hosts need attention.",
        "{all} 台のうち {n} 台に対処が必要です。",
    ),
    "attention_one": ("This host needs attention.", "このホストには対処が必要です。"),
    "run_errors": (
        "The run itself failed: what follows may be incomplete.",
        "調査そのものが失敗しました。以下は不完全かもしれません。",
    ),
    "no_host": ("No host was checked.", "調べたホストがありません。"),
    "noscript": (
        "Charts need JavaScript; all else is here without it.",
        "グラフの表示には JavaScript が必要です。それ以外はこのまま読めます。",
    ),
    "to_hosts": ("Skip to the hosts", "各ホストへ移動"),
    "made_by": (
        "Written by tools/drift. It is complete in itself and makes no network request. Charts: uPlot {version}.",
        "tools/drift が作成。このファイルだけで完結し、ネットワークには一切アクセスしません。グラフ：uPlot {version}",
    ),
    # levels
    "clean": ("as declared", "宣言どおり"),
    "drift": ("drift", "差異あり"),
    "near": ("needs a look", "要注意"),
    "unreachable": ("unreachable", "接続不可"),
    "error": ("not judged", "判定不能"),
    # summary
    "summary": ("All hosts", "全ホスト"),
    "col_host": ("Host", "ホスト"),
    "col_state": ("State", "状態"),
    "col_items": ("Items", "差異"),
    "col_tight": ("Tightest link", "最も余裕のない箇所"),
    "col_queue": ("Queue now (peak)", "キュー現在（最大）"),
    "col_dns": ("Deferred for DNS, 1 h", "DNS 遅延（1 時間）"),
    "col_out": ("Sent/s, peak", "配送/秒 最大"),
    "not_measured": ("not measured", "未計測"),
    "new_of": ("{n} new", "新規 {n}"),
    # what is wrong
    "wrong": ("What is wrong", "問題点"),
    "nothing_wrong": ("Nothing: all is as declared.", "ありません。すべて宣言どおりです。"),
    "is_unreachable": (
        "The host could not be reached, so nothing is known of it:",
        "ホストに接続できず、状態は不明です：",
    ),
    "is_error": ("The host could not be judged:", "ホストを判定できませんでした："),
    "items_differ": (
        "{n} item is not as declared",
        "{n} items are not as declared",
        "宣言と異なる項目が {n} 件あります",
    ),
    "broken_link": (
        "The chain of limits is broken at {link}: it has {has}, {needs} is needed.",
        "上限の連鎖が {link} で切れています。現在 {has}、必要なのは {needs} です。",
    ),
    "near_link": (
        "{link} came to {share} of its ceiling ({used} of {limit}) on {when}; now {now}.",
        "{link} が上限の {share} に達しました（{limit} 中 {used}、{when}）。現在は {now} です。",
    ),
    "dns_waiting": (
        "Names are not resolved: {n} delivery was deferred for that in the last hour; it began on {when}",
        "Names are not resolved: {n} deliveries were deferred for that in the last hour; it began on {when}",
        "名前を解決できていません。直近 1 時間に {n} 件の配送がそのために遅延しました（{when} から）",
    ),
    # alarms of role monitor (page/alarms.py)
    "alarm_down": ("{what} has not been running since {when}", "{what} が動いていません（{when} から）"),
    "alarm_silent": (
        "{what} runs and has answered no query since {when}",
        "{what} は動いていますが、問い合わせに答えません（{when} から）",
    ),
    "alarm_share": (
        "{what}: {share} in use; the alarm was raised on {when}",
        "{what}：使用率 {share}（警報は {when} から）",
    ),
    "alarm_age": (
        "The oldest message in queue {what} has waited for {age} minutes; the alarm was raised on {when}",
        "キュー {what} で最も古いメールが {age} 分待っています（警報は {when} から）",
    ),
    "alarm_certificate": (
        "The certificate that smtpd presents ends in {days} days; the alarm was raised on {when}",
        "smtpd の証明書は残り {days} 日で期限が切れます（警報は {when} から）",
    ),
    "alarm_other": ("Alarm {what} of the monitor, raised on {when}", "モニタの警報 {what}（{when} から）"),
    "watch_started": (
        "The watch started a daemon that was down {n} time in the days shown, last on {when}",
        "The watch started daemons that were down {n} times in the days shown, last on {when}",
        "表示期間中に、止まっていたデーモンを監視が {n} 回起動しました（最後は {when}）",
    ),
    "senders_not_own": (
        "Within a day users sent to {n} recipient as an address that is not their own; sasl_sender_check: reject would reject that",
        "Within a day users sent to {n} recipients as an address that is not their own; sasl_sender_check: reject would reject that",
        "直近 24 時間に、利用者が自分のものでない差出人アドレスで {n} 件の宛先に送っています。sasl_sender_check: reject なら拒否されます",
    ),
    "stale": (
        "No sample since {when}: the monitor has stopped",
        "{when} 以降の計測値がありません。モニタが止まっています",
    ),
    "found": ("found", "現状"),
    "declared": ("declared", "宣言"),
    "new": ("new", "新規"),
    "still": ("known", "継続"),
    "since_new": ("not there at the last run", "前回の調査にはなかった"),
    "since_still": ("found by the last run, too", "前回の調査にもあった"),
    "difference": ("Difference: − found, + declared", "差分：− 現状、+ 宣言"),
    "more_items": ("{n} more item", "{n} more items", "残り {n} 件"),
    "part_configuration": ("configuration", "設定"),
    "part_state": ("state", "稼働状態"),
    # ceilings
    "ceilings": ("How near the ceiling", "上限までの余裕"),
    "tight_measured": (
        "Tightest link: {link}, {share} at the most: {used} of {limit} in use on {when}. Now {now}.",
        "最も余裕がない箇所：{link}。最大で {share}（{limit} 中 {used}、{when}）。現在は {now}。",
    ),
    "tight_reckoned": (
        "Nothing is measured here. By estimate the tightest link is {link}: a full delivery needs {needs} of {limit}.",
        "使用量は計測していません。計算上、最も余裕がないのは {link} です。最大規模の配送では {limit} 中 {needs} が必要になります。",
    ),
    "tight_broken": (
        "Broken: {link}. It has {has}; {needs} is needed.",
        "切れています：{link}。現在 {has}、必要なのは {needs} です。",
    ),
    "tight_unknown": ("The chain was not measured.", "上限の連鎖は計測できませんでした。"),
    "chain": ("The chain of limits, link by link", "上限の連鎖を 1 つずつ見る"),
    "chain_why": (
        "Each link bears all that hang below it. Bar: largest use as a share of the ceiling; │ what a full delivery needs.",
        "上の輪が下のすべてを支えます。棒は上限に対する最大使用率、│ は最大規模の配送に必要な量です。",
    ),
    "col_link": ("Link", "箇所"),
    "col_use": ("Most in use", "最大使用"),
    "col_ceiling": ("Ceiling", "上限"),
    "col_needs": ("Needed", "必要"),
    "broken": ("BROKEN", "切断"),
    "tight_here": ("tightest", "最小余裕"),
    "near_here": ("near", "接近"),
    "becomes": ("the next run makes it {value}", "次の実行で {value} になります"),
    # what to do
    "todo": ("What to do", "対処"),
    "nothing_todo": ("Nothing.", "ありません。"),
    "for_items": ("for {n} item:", "for {n} items:", "対象 {n} 件："),
    "do_reach": (
        "Check that it runs and that ssh gets through, then run tools/drift again:",
        "稼働しているか、ssh が通るかを確かめてから、もう一度 tools/drift を実行します：",
    ),
    "do_error": (
        "Fix what the message names, then check again:",
        "メッセージが示す箇所を直してから、もう一度調べます：",
    ),
    "do_raise": (
        "Raise {variable} in the inventory ({link}) and run site.yml: it refuses what the memory cannot carry.",
        "{link}：インベントリの {variable} を上げて site.yml を実行します。メモリが足りなければ拒否されます。",
    ),
    "do_mend": (
        "Set {mend} in the inventory ({link}), then run site.yml.",
        "{link}：インベントリで {mend} と設定し、site.yml を実行します。",
    ),
    "do_broken": (
        "Run site.yml: it repairs the chain, or reports what prevents that.",
        "site.yml を実行します。連鎖を直すか、妨げているものを示します。",
    ),
    "do_swap": (
        "The host swaps: lower sokuhai_process_limit, or give it more memory.",
        "スワップが発生しています。sokuhai_process_limit を下げるか、メモリを増やします。",
    ),
    "do_dns": (
        "Query the host's own resolver, and search named's log for “soft limit” and “quota”:",
        "ホスト自身のリゾルバに問い合わせ、named のログで soft limit と quota を探します：",
    ),
    "do_down": ("Read why, then start it on the host:", "ホストで原因を読み、起動します："),
    "do_room": (
        "Make room, or move the queue or the log to a larger file system:",
        "空きを作るか、キューやログを大きいファイルシステムに移します：",
    ),
    "do_memory": ("See what holds the memory:", "メモリを使っているものを調べます："),
    "do_age": (
        "See why qmgr or the next hop does not take it:",
        "qmgr や配送先が受け取らない理由を調べます：",
    ),
    "do_certificate": (
        "Renew it where it comes from; a self-signed one is renewed by site.yml:",
        "発行元で更新します。自己署名のものは site.yml が更新します：",
    ),
    "do_watch": ("See what ended it:", "何が終了させたのかを調べます："),
    "do_senders": (
        "See who it is; what is meant goes into addresses of that user (sasl_users), or becomes an alias:",
        "誰かを調べます。意図したものなら、その利用者の addresses（sasl_users）に加えるか、別名（alias）にします：",
    ),
    "do_monitor": ("Start the monitor again:", "モニタを動かします："),
    # what puts a finding right, behind its command where it has one (remedies.py)
    "remedy_site": (
        "puts it back; if it is meant, declare it in the inventory",
        "で宣言どおりに戻ります。意図した変更なら、戻さずにインベントリに宣言してください。",
    ),
    "remedy_rebuild": (
        "builds it as declared; if it is meant, declare it in the inventory",
        "で宣言どおりに再構築します。意図した変更なら、戻さずにインベントリに宣言してください。",
    ),
    "remedy_builder": (
        "builds and serves it as declared; if it is meant, declare it in the inventory",
        "で宣言どおりにビルドし、配布します。意図した変更なら、戻さずにインベントリに宣言してください。",
    ),
    "remedy_reset": (
        "raises it again and builds what has seen the other number; playbooks/rollback.yml --tags headers if FreeBSD's number is to stay",
        "で値を上げ直し、元の値でビルドされたものを再構築します。FreeBSD の値のままにするなら playbooks/rollback.yml --tags headers を実行します。",
    ),
    "remedy_refresh": (
        "takes an unhealthy DNSBL out of Postfix's lists until it is healthy again",
        "で、正常に応答しない DNSBL を回復するまで Postfix の設定から外します。",
    ),
    "remedy_reboot": (
        "puts it in force; wait until mail can wait",
        "で有効になります。メールを止められるときに再起動してください。",
    ),
    "remedy_restart": (
        "is needed: limits, program and sockets of a running process stay as they were at its start",
        "が必要です。プロセスの上限、プログラム、ソケットは起動時のまま変わりません。",
    ),
    "remedy_dns": (
        "prints the record to publish; no run changes the DNS",
        "で、公開すべきレコードを表示します。DNS は変更されません。",
    ),
    "remedy_setgid": (
        "puts it back; without it only root can submit mail on this host",
        "で元に戻ります。戻すまで、このホストで root 以外はメールを送れません。",
    ),
    "remedy_certificate": (
        "renew it and have Postfix read it: postfix reload",
        "証明書を更新し、postfix reload で読み込ませます。",
    ),
    "remedy_header": (
        "rebuild it with the original header: docs/why-fd-setsize.md",
        "元のヘッダーでビルドし直します（docs/why-fd-setsize.md）。",
    ),
    "remedy_mode": (
        "chmod and chown it to what is declared",
        "chmod と chown で宣言どおりに直します。",
    ),
    "remedy_package": (
        "pkg install -f the declared package, or declare the one that is meant",
        "宣言したパッケージを pkg install -f で入れ直すか、意図したパッケージを宣言します。",
    ),
    "remedy_upgrade": (
        "pkg upgrade it as soon as the repository has a fixed version, then run site.yml",
        "修正版がリポジトリに出たら pkg upgrade で更新し、site.yml を実行します。",
    ),
    "remedy_successor": (
        "the port is gone and the package gets no more fixes: install its successor and declare it, docs/upgrade.md",
        "この port は削除され、修正は届きません。後継を入れて宣言します（docs/upgrade.md）。",
    ),
    "remedy_refused": (
        "the message says what to change; the role is not judged beyond it",
        "メッセージが示す箇所を直します。このロールのそれ以降は判定していません。",
    ),
    # charts
    "charts": ("Over time", "推移"),
    "charts_span": ("{from} to {to}, your time zone", "{from} から {to} まで（閲覧者の時間帯）"),
    "range": ("Show", "表示期間"),
    "range_all": ("all", "全期間"),
    "range_hours": ("last {n} hour", "last {n} hours", "直近 {n} 時間"),
    "range_days": ("last {n} day", "last {n} days", "直近 {n} 日"),
    "zoom": ("Zoom to the values", "値に合わせて拡大"),
    "chart_keys": (
        "Chart. Left and right move through the samples, Home and End go to the first and last.",
        "グラフ。左右キーで計測点を移動、Home と End で最初と最後へ。",
    ),
    "chart_queue": ("Queue, by state", "キュー（状態別）"),
    "chart_named": ("named, in % of its ceilings", "named（上限に対する %）"),
    "chart_warm": (
        "The lists' domains, and how many of them named's cache has",
        "名簿のドメインと、そのうち named のキャッシュにある数",
    ),
    "chart_host": ("Postfix and the host, in % of their ceilings", "Postfix とホスト全体（上限に対する %）"),
    "chart_room": ("Memory and disk (MiB), in % of what there is", "メモリとディスク（MiB）、全体に対する %"),
    "chart_mails": ("Mails", "メール数"),
    "chart_deferred": ("Deferred deliveries, by reason", "配送遅延（deferred）の理由別"),
    "chart_kept_out": ("Rejected or deferred", "拒否・待機させた数"),
    "unit_mails": ("mails", "通"),
    "unit_domains": ("domains", "ドメイン"),
    "unit_rate": ("per second", "毎秒"),
    "unit_minute": ("per minute", "毎分"),
    "unit_share": ("% of the ceiling", "上限に対する %"),
    "ceiling": ("ceiling", "上限"),
    "col_line": ("Line", "線"),
    "col_now": ("Last", "最新"),
    "col_most": ("Most", "最大"),
    "col_at": ("At the cursor", "カーソル位置"),
    "queue_active": ("active", "active"),
    "queue_deferred": ("deferred", "deferred"),
    "queue_incoming": ("incoming", "incoming"),
    "queue_hold": ("hold", "hold"),
    "queue_maildrop": ("maildrop", "maildrop"),
    "named_sockets": ("named: sockets", "named：ソケット"),
    "named_descriptors": ("named: descriptors", "named：ディスクリプタ"),
    "named_recursive_clients": ("named: recursive clients", "named：再帰問い合わせ"),
    "warm_cached": ("in the cache", "キャッシュにある"),
    "warm_total": ("that take mail", "メールを受け取る"),
    "postfix_processes": ("Postfix: smtp processes", "Postfix：smtp プロセス"),
    "postfix_descriptors": ("Postfix: descriptors, fullest process", "Postfix：ディスクリプタ（最多のプロセス）"),
    "files": ("host: open files", "ホスト：オープンファイル"),
    "sockets": ("host: sockets", "ホスト：ソケット"),
    "mails_in": ("in", "受信"),
    "mails_out": ("out", "配送完了"),
    "mails_deferred": ("deferred", "遅延"),
    "mails_bounced": ("bounced", "バウンス"),
    "mails_rejected": ("rejected", "拒否"),
    "deferred_dns": ("DNS", "DNS"),
    "deferred_connect": ("no connection", "接続できない"),
    "deferred_refused": ("refused for now", "一時拒否（4xx）"),
    "deferred_greylisted": ("greylisted", "グレイリスト"),
    "deferred_other": ("other", "その他"),
    "mails_put_off": ("deferred (4xx)", "一時拒否（4xx）"),
    "swap_used": ("host: swap", "ホスト：スワップ"),
    "memory_free": ("memory in use", "使用中のメモリ"),
    "queue_disk_used": ("disk of the queue", "キューのディスク"),
    "queue_inodes_used": ("disk of the queue: inodes", "キューのディスク：inode"),
    "log_disk_used": ("disk of the log", "ログのディスク"),
    "log_inodes_used": ("disk of the log: inodes", "ログのディスク：inode"),
    "postscreen_hits": ("postscreen", "postscreen"),
    "dnsbl_hits": ("DNSBL", "DNSBL"),
    "greylist_hits": ("greylist", "グレイリスト"),
    "spf_fails": ("SPF fail", "SPF fail"),
    "sender_fails": ("sender not the user's own", "本人のものでない差出人"),
    # the last large messages
    "mailings": ("The last large messages", "最近の大量配信"),
    "mailings_why": (
        "Messages with 100 recipients or more, from the mail log. Seconds count from the arrival of the message to the end of the delivery, "
        "per cent are of all recipients.",
        "宛先が 100 件以上のメッセージ（メールログによる）。秒数はメッセージの到着から配送が終わるまで、% は全宛先に対する割合です。",
    ),
    "mailing_line": (
        "{when}: {n} recipient, {share} delivered",
        "{when}: {n} recipients, {share} delivered",
        "{when}：宛先 {n} 件、配送完了 {share}",
    ),
    "mailing_from": (
        "From {sender}; queue files: {files}, of which {left} still in the queue.",
        "差出人 {sender}、キューファイル {files}（うち {left} はまだキューの中）。",
    ),
    "mailing_counts": (
        "{delivered} delivered ({first} at the first attempt), {deferred} deferred, {bounced} bounced, {unattempted} not yet tried.",
        "配送完了 {delivered}（うち 1 回目で {first}）、遅延 {deferred}、バウンス {bounced}、未試行 {unattempted}。",
    ),
    "mailing_spent": (
        "Median of those delivered: {before} s until the queue manager had it, {queue} s in the queue manager, {connection} s to connect (DNS and TLS included), {sending} s to send.",
        "配送完了分の中央値：キューマネージャに渡るまで {before} 秒、その中で {queue} 秒、接続（DNS と TLS を含む）{connection} 秒、送信 {sending} 秒。",
    ),
    "mailing_deferred_by": ("Deferred: {list}", "遅延の理由：{list}"),
    "mailing_bounced_by": ("Bounced: {list}", "バウンスの理由：{list}"),
    "bounce_dead": ("no such address", "宛先が存在しない"),
    "bounce_policy": ("rejected by policy", "ポリシーによる拒否"),
    "bounce_full": ("mailbox full", "メールボックスが満杯"),
    "bounce_size": ("too large", "サイズ超過"),
    "bounce_expired": ("too long in the queue", "キューでの期限切れ"),
    "bounce_bounced": ("another reason", "その他"),
    "not_reached": ("not reached", "未達"),
    "dead_addresses": (
        "{n} address does not exist. For the list's owner, one a line, on the host:",
        "{n} addresses do not exist. For the list's owner, one a line, on the host:",
        "存在しない宛先が {n} 件あります。リストの管理者に渡す一覧（1 行 1 件）をホスト上で作ります：",
    ),
    "col_group": ("Provider or domain", "プロバイダまたはドメイン"),
    "col_recipients": ("Recipients", "宛先"),
    "col_delivered": ("Delivered", "配送完了"),
    "col_deferred": ("Deferred", "遅延"),
    "col_bounced": ("Bounced", "バウンス"),
    "col_50": ("50 % after", "50 % まで"),
    "col_99": ("99 % after", "99 % まで"),
    "provider": ("provider", "プロバイダ"),
    "more_groups": ("and {n} more", "ほか {n} 件"),
    # traps
    "traps": ("Traps", "トラップ（おとりアドレス）"),
    "traps_why": (
        "Mail to addresses that nobody owns, as far back as the mail log and its rotated files are kept: which restriction would have rejected it. "
        "Nothing is blocked because of it.",
        "誰のものでもないアドレスに届いたメールについて、どの規則が拒否したはずかを、保存されているメールログの範囲で数えたもの。"
        "これを根拠に遮断することはありません。",
    ),
    "col_rule": ("Restriction", "規則"),
    "col_count": ("Count", "件数"),
    "col_trap": ("Trap", "トラップ"),
    "col_taken": ("Accepted", "受信"),
    "col_refused": ("Rejected", "拒否"),
    "no_hits": (
        "No restriction matched: no mail to a trap.",
        "該当する規則はありません。トラップ宛てのメールは届いていません。",
    ),
    "clients": ("Clients: {list}", "クライアント：{list}"),
    # not known
    "unknown": ("What could not be determined", "確認できなかったこと"),
    "nothing_unknown": ("Nothing.", "ありません。"),
    "no_samples": (
        "How the host does over time: role monitor keeps no samples on it. Enable it in the inventory (sokuhai_monitor: true), then run site.yml:",
        "時間の経過に伴う変化。このホストではモニタ（monitor ロール）が計測していません。インベントリで有効にして（sokuhai_monitor: true）site.yml を実行します：",
    ),
    "no_samples_error": ("The samples could not be read: {why}", "計測値を読めませんでした：{why}"),
    "no_traps_error": ("The traps could not be counted: {why}", "トラップを集計できませんでした：{why}"),
    "no_mailings_error": (
        "What became of the last large messages could not be read: {why}",
        "最近の大量配信の結果を読めませんでした：{why}",
    ),
    "logs_left_out": (
        "Large messages in these logs: to keep it short only the youngest logs are read; not {list}",
        "次のログにある大量配信。時間をかけないよう、新しいログだけを読んでいます：{list}",
    ),
    "log_missing": ("No log of traps: {list}", "トラップのログがありません：{list}"),
    "column_unknown": ("Never known in these samples: {list}", "この期間に一度も計測できなかった項目：{list}"),
    "no_chain": (
        "The chain of limits: preflight did not finish on this host.",
        "上限の連鎖。このホストでは preflight が最後まで動きませんでした。",
    ),
}


def forms(key):
    """(English for one, English for any other number, Japanese)."""
    words = WORDS[key]
    return words if len(words) == 3 else (words[0], words[0], words[1])
