# What bmake reads before every makefile here: FreeBSD's defaults, as far as the
# ports tree, /usr/src and make.conf of the practice host look at them.

MACHINE=	amd64
MACHINE_ARCH=	amd64
MACHINE_CPUARCH=	amd64

CC?=		cc
CFLAGS?=	-O2 -pipe
CPP?=		cpp
LDFLAGS?=
INSTALL?=	install
SHELL?=		/bin/sh

# a recipe's line that fails ends the recipe
.SHELL: name=sh quiet="set -" echo="set -v" filter="set -" hasErrCtl=yes check="set -e" ignore="set +e" \
	echoFlag=v errFlag=e path=/bin/sh

.MAKE.EXPAND_VARIABLES=	yes
.MAKE.MAKEFILE_PREFERENCE=	BSDmakefile makefile Makefile

__MAKE_CONF?=	/etc/make.conf
.if exists(${__MAKE_CONF})
.include "${__MAKE_CONF}"
.endif
