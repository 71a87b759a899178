#!/bin/sh
# The manifest of a package: create-manifest.sh name version origin prefix comment
# maintainer flavor osversion depends selected deselected libraries-it-needs libraries-it-brings

set -eu
name=$1 version=$2 origin=$3 prefix=$4 comment=$5 maintainer=$6 flavor=$7 osversion=$8
depends=$9
shift 9
selected=$1 deselected=$2 needs=$3 brings=$4

text() { # a JSON string
	printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"
}

printf '{"name":%s,"version":%s,"origin":%s,"comment":%s,"maintainer":%s,"prefix":%s,"www":"","arch":"freebsd:15:x86:64","desc":%s' \
    "$(text "$name")" "$(text "$version")" "$(text "$origin")" "$(text "$comment")" "$(text "$maintainer")" "$(text "$prefix")" "$(text "$comment")"
sep=
printf ',"deps":{'
for one in $depends; do
	row=$(/usr/local/sbin/pkg query '%n %v' "$one")
	printf '%s%s:{"origin":%s,"version":%s}' "$sep" "$(text "${row% *}")" "$(text "$one")" "$(text "${row#* }")"
	sep=,
done
sep=
printf '},"options":{'
for one in $selected; do printf '%s%s:"on"' "$sep" "$(text "$one")"; sep=,; done
for one in $deselected; do printf '%s%s:"off"' "$sep" "$(text "$one")"; sep=,; done
sep=
printf '},"shlibs_required":['
for one in $needs; do printf '%s%s' "$sep" "$(text "$one")"; sep=,; done
sep=
printf '],"shlibs_provided":['
for one in $brings; do printf '%s%s' "$sep" "$(text "$one")"; sep=,; done
printf '],"annotations":{"FreeBSD_version":%s' "$(text "$osversion")"
[ -z "$flavor" ] || printf ',"flavor":%s' "$(text "$flavor")"
printf '}}\n'
