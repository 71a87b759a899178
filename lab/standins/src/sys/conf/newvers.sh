#!/bin/sh
# Which release these sources are of, and vers.c for a kernel: newvers.sh ident

TYPE="FreeBSD"
REVISION="15.0"
BRANCH="RELEASE"
if [ -n "${BRANCH_OVERRIDE}" ]; then
	BRANCH=${BRANCH_OVERRIDE}
fi
RELEASE="${REVISION}-${BRANCH}"

number=$(awk '/^#define[[:blank:]]+__FreeBSD_version/ { print $3 }' "$(dirname "$0")/../sys/param.h")
ident=${1:-GENERIC}
cat > vers.c <<EOF
const char sccs[] = "@(#)${TYPE} ${RELEASE} ${ident}\n";
const char version[] = "${TYPE} ${RELEASE} ${ident}\n";
const char ostype[] = "${TYPE}";
const char osrelease[] = "${RELEASE}";
const int osreldate = ${number};
EOF
