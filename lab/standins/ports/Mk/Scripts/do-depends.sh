#!/bin/sh
# Sees to what a port depends on: do-depends.sh pattern:origin[@flavor][:step] ...
# A dependency is there when its pattern is: a file, a program, a library, or a package with a version. Else its port is installed; with
# USE_PACKAGE_DEPENDS_ONLY its package file, and nothing is built.

set -eu

version() { # the package of $1 (name<version, name>=version<version ...) is installed
	have=$(${PKG_BIN} query %v "${1%%[<>=]*}") || return 1
	for rule in $(printf '%s' "${1#"${1%%[<>=]*}"}" | sed 's/\([<>=]*[^<>=]*\)/\1 /g'); do
		sign=$(${PKG_BIN} version -t "$have" "${rule##*[<>=]}")
		case ${rule%"${rule##*[<>=]}"} in *"$sign"*) ;; *) return 1 ;; esac
	done
}

found() { # says what was looked for
	case $1 in
	lib*.so*)
		library=$(find /usr/local/lib -maxdepth 1 -name "$1*" | sed -n 1p)
		say="shared library: $1" more=${library:+ ($library)}
		[ -n "$library" ]
		;;
	*[\<\>=]*)
		say="package: $1" more=
		version "$1"
		;;
	/*)
		say="file: $1" more=
		[ -e "$1" ]
		;;
	*)
		say="executable: $1" more=
		command -v "$1" > /dev/null
		;;
	esac
}

for line; do
	pattern=${line%%:*}
	origin=${line#*:}
	origin=${origin%%:*}
	flavor=
	case $origin in *@*) flavor=${origin#*@} origin=${origin%%@*} ;; esac
	if found "$pattern"; then
		${ECHO_MSG} "===>   ${PKGNAME} depends on $say - found$more"
		continue
	fi
	${ECHO_MSG} "===>   ${PKGNAME} depends on $say - not found"
	if [ ! -f "$PORTSDIR/$origin/Makefile" ]; then
		echo "Error a dependency refers to a non existing origin: $PORTSDIR/$origin" >&2
		exit 1
	fi
	file=$(env -u FLAVOR ${flavor:+"FLAVOR=$flavor"} ${MAKE} -C "$PORTSDIR/$origin" -V PKGFILE)
	if [ -n "${USE_PACKAGE_DEPENDS_ONLY:-}" ] && [ -r "$file" ]; then
		${PKG_BIN} add -A "$file"
	elif [ -n "${USE_PACKAGE_DEPENDS_ONLY:-}" ]; then
		echo "===>   ${PKGNAME} depends on package: $file - not found" >&2
		echo "===>   USE_PACKAGE_DEPENDS_ONLY set - not building missing dependency from source" >&2
		exit 1
	else
		env -u FLAVOR ${flavor:+"FLAVOR=$flavor"} ${MAKE} -C "$PORTSDIR/$origin" install
	fi
	found "$pattern"
	${ECHO_MSG} "===>   Returning to build of ${PKGNAME}"
done
