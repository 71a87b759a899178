#!/bin/sh
# The directories of the ports that a port depends on, one a line: depends-list.sh [-fmr] pattern:origin[@flavor][:step] ...
# -f: with their flavors; -r: and what those depend on; -m: those whose origin no package here has, and what those depend on.

set -eu
flavors="" missing="" recursive=""
while getopts fmr one; do
	case $one in
	f) flavors=yes ;;
	m) missing=yes recursive=yes ;;
	r) recursive=yes ;;
	*) exit 1 ;;
	esac
done
shift $((OPTIND - 1))
here=" $(${PKG_BIN} query -a %o | tr '\n' ' ')"
seen=" "

list() {
	for need; do
		need=${need#*:}
		need=${need%%:*}
		origin=${need%%@*} flavor=
		[ "$origin" = "$need" ] || flavor=${need#*@}
		case $seen in *" $origin "*) continue ;; esac
		seen="$seen$origin "
		if [ ! -d "$PORTSDIR/$origin" ]; then
			echo "\"$PORTSDIR/$origin\" non-existent -- dependency list incomplete" >&2
			continue
		fi
		if [ -n "$missing" ]; then
			case $here in *" $origin "*) continue ;; esac
		fi
		echo "$PORTSDIR/$origin${flavors:+${flavor:+@$flavor}}"
		if [ -n "$recursive" ]; then
			# shellcheck disable=SC2046
			list $(env -u FLAVOR ${flavor:+"FLAVOR=$flavor"} ${MAKE} -C "$PORTSDIR/$origin" -V _UNIFIED_DEPENDS)
		fi
	done
}

list "$@"
