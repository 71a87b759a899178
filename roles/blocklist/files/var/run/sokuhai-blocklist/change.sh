#!/bin/sh
# Written by sokuhai's role blocklist: puts pf's new rules into force, and takes them back unless a new ssh connection confirms them.
#
#	sh change.sh SECONDS
#	sh change.sh undo
#
# The folder it lies in has the files of one change: settings (the assignments below), and of pf.conf and of our anchor's file
# .new, unless the file is to go, and .before, or .none where there was no file. What happens leaves its mark there, too: armed until somebody
# has decided, applied, then confirmed or undone, and finished once everything is taken back.
PATH=/sbin:/bin:/usr/sbin:/usr/bin
here=${0%/*}
# the two files; pf_flags, with which pf.conf is read at boot; what pf was: enabled, loaded (off, but with rules) or disabled
pfconf='' anchor='' flags='' was=''
. "$here/settings"

BROKEN_OFF="a change of pf's rules that was broken off is taken back"

load() {
	# rc.d/pf parts them at white space, too
	# shellcheck disable=SC2086
	pfctl -q -f "$pfconf" $flags
}

put() {
	if [ -e "$here/$1.new" ]; then
		cp -p "$here/$1.new" "$2.new" && mv "$2.new" "$2"
	else
		rm -f "$2"
	fi
}

put_back() {
	if [ -e "$here/$1.before" ]; then
		cp -p "$here/$1.before" "$2.undo" && mv "$2.undo" "$2"
	elif [ -e "$here/$1.none" ]; then
		rm -f "$2"
	fi
}

undo() {
	# a file that is not here need not mean that there was none: somebody may have taken this folder away, and the change with it
	for name in pf.conf anchor; do
		if [ ! -e "$here/$name.before" ] && [ ! -e "$here/$name.none" ]; then
			logger -t sokuhai-blocklist -p daemon.notice "$here does not say what $name was: nothing is taken back"
			exit 1
		fi
	done
	put_back pf.conf "$pfconf"
	put_back anchor "$anchor"
	if [ "$was" = enabled ]; then
		load
	else
		pfctl -q -d
		pfctl -q -a sokuhai -F all
		[ "$was" = loaded ] && [ -e "$pfconf" ] && load || pfctl -q -F rules
	fi
	logger -t sokuhai-blocklist -p daemon.notice "$1"
	true > "$here/finished"
	exit 0
}

[ "$1" != undo ] || undo "$BROKEN_OFF"

echo $$ > "$here/pid"
# the call that started this is still on its way back through a connection that pf does not know
sleep 2
[ -e "$here/armed" ] || exit 0
if put anchor "$anchor" && put pf.conf "$pfconf" &&
    load && { pfctl -s Running >/dev/null || pfctl -q -e; }; then
	# true and not `:`, a special built-in: sh(1) would end where the folder has just been taken away
	true > "$here/applied"
	left=$1
	while [ "$left" -gt 0 ] && [ -e "$here/armed" ]; do
		sleep 1
		left=$((left - 1))
	done
	why="no new ssh connection confirmed pf's rules within $1 seconds: they are taken back"
else
	why="pf did not take its new rules: they are taken back"
fi 2> "$here/errors"
# who renames it has decided: this, the confirmation, or a later run that wants what there was. That one waits for this undo, for the new rules may have come
# into force after it had renamed it.
if ! mv "$here/armed" "$here/undone" 2>/dev/null; then
	[ ! -e "$here/confirmed" ] || exit 0
	why=$BROKEN_OFF
fi
undo "$why"
