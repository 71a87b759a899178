# The ports tree's rules, as far as this practice host's few ports need them: the
# names, the values and the order of the steps are FreeBSD's, the text is our own.
#
# A makefile includes this once (bsd.port.mk), or in parts: bsd.port.options.mk
# or bsd.port.pre.mk before its own conditions, bsd.port.post.mk at its end.

.if !defined(_PORT_VARIABLES)
_PORT_VARIABLES=	yes

LOCALBASE?=	/usr/local
PREFIX?=	${LOCALBASE}
OPSYS=		FreeBSD
ARCH=		amd64
OSVERSION!=	awk '/^.define[[:blank:]]+__FreeBSD_version/ { print $$3 }' /usr/include/sys/param.h
OSREL=		${OSVERSION:C/([0-9]+)[0-9]{5}/\1/}.${OSVERSION:C/[0-9]+([0-9])[0-9]{4}$/\1/}
PORT_DBDIR?=	/var/db/ports
DISTDIR?=	${PORTSDIR}/distfiles
PACKAGES?=	${PORTSDIR}/packages
SCRIPTSDIR=	${PORTSDIR}/Mk/Scripts
MASTERDIR?=	${.CURDIR}
FILESDIR?=	${MASTERDIR}/files
PKG_BIN=	${LOCALBASE}/sbin/pkg
ECHO_MSG?=	echo
.if ${.CURDIR:H:T} == "ports"
.error ${.CURDIR} is a category, not a port
.endif
PKGORIGIN=	${.CURDIR:H:T}/${.CURDIR:T}

.sinclude "${MASTERDIR}/Makefile.local"

.if defined(FLAVORS)
.  if empty(FLAVOR)
FLAVOR:=	${FLAVORS:[1]}
.  elif empty(FLAVORS:M${FLAVOR})
IGNORE=		Unknown flavor '${FLAVOR}', possible flavors: ${FLAVORS}
.  endif
.elif !empty(FLAVOR)
IGNORE=		FLAVOR is defined (to ${FLAVOR}) while this port does not have FLAVORS.
.endif
.if !empty(FLAVOR)
.  for word in PKGNAMEPREFIX PKGNAMESUFFIX
.    if defined(${FLAVOR}_${word})
${word}=	${${FLAVOR}_${word}}
.    endif
.  endfor
CONFLICTS_INSTALL+=	${${FLAVOR}_CONFLICTS_INSTALL}
.endif

.include "${PORTSDIR}/Mk/bsd.options.mk"
.endif

.if !defined(_WANT) && !defined(_PORT_RULES)
_PORT_RULES=	yes

# --- names --------------------------------------------------------------------
PORTVERSION?=	${DISTVERSION:tl:C/([a-z])[a-z]+/\1/g:C/([0-9])([a-z])/\1.\2/g:C/:(.)/\1/g:C/[^a-z0-9+]+/./g}
DISTVERSION?=	${PORTVERSION}
PORTREVISION?=	0
PORTEPOCH?=	0
.if ${PORTREVISION} != 0
_REVISION=	_${PORTREVISION}
.endif
.if ${PORTEPOCH} != 0
_EPOCH=		,${PORTEPOCH}
.endif
PKGVERSION=	${PORTVERSION:C/[-_,]/./g}${_REVISION}${_EPOCH}
PKGBASE=	${PKGNAMEPREFIX}${PORTNAME}${PKGNAMESUFFIX}
PKGNAME=	${PKGBASE}-${PKGVERSION}
PKGCATEGORY?=	${CATEGORIES:[1]}
DISTNAME?=	${PORTNAME}-${DISTVERSION}
DISTFILES?=	${DISTNAME}.tar.gz
ETCDIR?=	${PREFIX}/etc/${PORTNAME}
DATADIR?=	${PREFIX}/share/${PORTNAME}
DOCSDIR?=	${PREFIX}/share/doc/${PORTNAME}

.if empty(FLAVOR)
WRKDIR?=	${WRKDIRPREFIX}${.CURDIR}/work
.else
WRKDIR?=	${WRKDIRPREFIX}${.CURDIR}/work-${FLAVOR}
.endif
.if defined(NO_WRKSUBDIR)
WRKSRC?=	${WRKDIR}
.endif
WRKSRC?=	${WRKDIR}/${DISTNAME}
STAGEDIR?=	${WRKDIR}/stage
METADIR=	${WRKDIR}/.metadir
TMPPLIST?=	${WRKDIR}/.PLIST.mktmp
PKGREPOSITORY=	${PACKAGES}/All
PKGFILE=	${PKGREPOSITORY}/${PKGNAME}.pkg

# the tree hardens what it builds
.if !defined(WITHOUT_SSP)
CFLAGS+=	-fstack-protector-strong
.endif
CFLAGS+=	-fno-strict-aliasing
CFLAGS:=	${CFLAGS:C/ $//}
.for opt in ${COMPLETE_OPTIONS_LIST}
.  if ${PORT_OPTIONS:M${opt}}
CONFIGURE_ARGS+=	${${opt}_CONFIGURE_ENABLE:S/^/--enable-/} ${${opt}_CONFIGURE_WITH:S/^/--with-/} ${${opt}_CONFIGURE_ON}
.  else
CONFIGURE_ARGS+=	${${opt}_CONFIGURE_ENABLE:S/^/--disable-/:C/=.*//} ${${opt}_CONFIGURE_WITH:S/^/--without-/:C/=.*//} ${${opt}_CONFIGURE_OFF}
.  endif
.endfor

# --- the steps -----------------------------------------------------------------
_MARK=		.${PORTNAME}.${PREFIX:S,/,_,g}
.for step in extract patch configure build stage
${step:tu}_COOKIE=	${WRKDIR}/.${step}_done${_MARK}
.endfor
PACKAGE_COOKIE=	${WRKDIR}/.package_done${_MARK}
INSTALL_COOKIE=	${WRKDIR}/.install_done${_MARK}

.MAIN: all
all: build
.ORDER: check-sanity fetch checksum

.for step in fetch checksum extract patch configure build stage package install
pre-${step} post-${step}:
.endfor

check-sanity:
.if defined(IGNORE)
	@${ECHO_MSG} "===>  ${PKGNAME} ${IGNORE}." >&2
	@exit 1
.elif defined(BROKEN) && !defined(TRYBROKEN)
	@${ECHO_MSG} "===>  ${PKGNAME} is marked as broken: ${BROKEN}."
	@exit 1
.endif

check-vulnerable: check-sanity
.if !defined(DISABLE_VULNERABILITIES) && exists(/var/db/pkg/vuln.xml) && exists(${PKG_BIN})
	@if ! ${PKG_BIN} audit -q ${PKGNAME} > /dev/null; then \
		${ECHO_MSG} "===>  ${PKGNAME} has known vulnerabilities:"; \
		${PKG_BIN} audit ${PKGNAME} || :; \
		${ECHO_MSG} "=> Please update your ports tree and try again."; \
		${ECHO_MSG} "=> Note: Vulnerable ports are marked as such even if there is no update available."; \
		${ECHO_MSG} "=> If you wish to ignore this vulnerability rebuild with 'make DISABLE_VULNERABILITIES=yes'"; \
		exit 1; \
	fi
.endif

fetch: check-vulnerable check-config pre-fetch do-fetch post-fetch
do-fetch:
	@mkdir -p ${DISTDIR}/${DIST_SUBDIR}
.for file in ${DISTFILES}
	@if [ ! -f ${DISTDIR}/${DIST_SUBDIR:D${DIST_SUBDIR}/}${file} ]; then \
		${ECHO_MSG} "=> ${file} doesn't seem to exist in ${DISTDIR}/${DIST_SUBDIR}."; \
		for site in ${MASTER_SITES}; do \
			${ECHO_MSG} "=> Attempting to fetch $${site}${file}"; \
			if cp $${site#file://}${file} ${DISTDIR}/${DIST_SUBDIR:D${DIST_SUBDIR}/}${file}; then exit 0; fi; \
		done; \
		${ECHO_MSG} "=> Couldn't fetch it - please try to retrieve this"; \
		${ECHO_MSG} "=> port manually into ${DISTDIR}/${DIST_SUBDIR} and try again."; \
		exit 1; \
	fi
.endfor

checksum: fetch
.for file in ${DISTFILES}
	@want=$$(sed -n 's,^SHA256 (${DIST_SUBDIR:D${DIST_SUBDIR}/}${file}) = ,,p' ${MASTERDIR}/distinfo); \
	have=$$(/sbin/sha256 -q ${DISTDIR}/${DIST_SUBDIR:D${DIST_SUBDIR}/}${file}); \
	if [ -z "$$want" ]; then \
		${ECHO_MSG} "=> No SHA256 checksum recorded for ${DIST_SUBDIR:D${DIST_SUBDIR}/}${file}."; exit 1; \
	elif [ "$$want" != "$$have" ]; then \
		${ECHO_MSG} "=> SHA256 Checksum mismatch for ${DIST_SUBDIR:D${DIST_SUBDIR}/}${file}."; \
		${ECHO_MSG} "===>  Giving up on fetching files: ${DIST_SUBDIR:D${DIST_SUBDIR}/}${file} "; \
		exit 1; \
	fi; \
	${ECHO_MSG} "=> SHA256 Checksum OK for ${DIST_SUBDIR:D${DIST_SUBDIR}/}${file}."
.endfor

extract: ${EXTRACT_COOKIE}
${EXTRACT_COOKIE}: checksum
	@${ECHO_MSG} "===>  Extracting for ${PKGNAME}"
	@rm -rf ${WRKDIR}; mkdir -p ${WRKDIR}
	@cd ${.CURDIR} && ${MAKE} _from=extract pre-extract
	@for file in ${DISTFILES}; do tar -xzf ${DISTDIR}/${DIST_SUBDIR:D${DIST_SUBDIR}/}$$file -C ${WRKDIR} --no-same-owner; done
	@cd ${.CURDIR} && ${MAKE} _from=extract post-extract
	@touch ${.TARGET}

patch: ${PATCH_COOKIE}
${PATCH_COOKIE}: ${EXTRACT_COOKIE}
	@${ECHO_MSG} "===>  Patching for ${PKGNAME}"
	@cd ${.CURDIR} && ${MAKE} pre-patch post-patch
	@touch ${.TARGET}

# what a port needs, in the words and the order of the tree
_UNIFIED_DEPENDS=	${BUILD_DEPENDS} ${LIB_DEPENDS} ${RUN_DEPENDS} ${TEST_DEPENDS}
_DEPENDS_ENV=	MAKE="${MAKE}" PORTSDIR="${PORTSDIR}" PKG_BIN="${PKG_BIN}" PKGNAME="${PKGNAME}" ECHO_MSG="${ECHO_MSG}" \
		USE_PACKAGE_DEPENDS_ONLY="${USE_PACKAGE_DEPENDS_ONLY}"
_DEPENDS_LIST=	env ${_DEPENDS_ENV} /bin/sh ${SCRIPTSDIR}/depends-list.sh ${DEPENDS_SHOW_FLAVOR:D-f}
missing:
	@for dir in $$(${_DEPENDS_LIST} -m ${_UNIFIED_DEPENDS:@d@'${d}'@}); do echo $${dir#${PORTSDIR}/}; done
install-missing-packages:
	@want=$$(cd ${.CURDIR} && ${MAKE} missing); \
	[ -z "$$want" ] || ${PKG_BIN} install -A ${BATCH:D-y} $$want
build-depends-list:
	@${_DEPENDS_LIST} ${BUILD_DEPENDS:@d@'${d}'@} ${LIB_DEPENDS:@d@'${d}'@}
run-depends-list:
	@${_DEPENDS_LIST} ${LIB_DEPENDS:@d@'${d}'@} ${RUN_DEPENDS:@d@'${d}'@}
all-depends-list:
	@${_DEPENDS_LIST} -r ${_UNIFIED_DEPENDS:@d@'${d}'@}
depends:
	@env ${_DEPENDS_ENV} /bin/sh ${SCRIPTSDIR}/do-depends.sh ${BUILD_DEPENDS:@d@'${d}'@} ${LIB_DEPENDS:@d@'${d}'@} ${RUN_DEPENDS:@d@'${d}'@}

configure: ${CONFIGURE_COOKIE}
${CONFIGURE_COOKIE}: ${PATCH_COOKIE}
	@cd ${.CURDIR} && ${MAKE} depends
	@${ECHO_MSG} "===>  Configuring for ${PKGNAME}"
	@cd ${.CURDIR} && ${MAKE} pre-configure do-configure post-configure
	@touch ${.TARGET}

build: ${BUILD_COOKIE}
${BUILD_COOKIE}: ${CONFIGURE_COOKIE}
	@${ECHO_MSG} "===>  Building for ${PKGNAME}"
	@cd ${.CURDIR} && ${MAKE} pre-build do-build post-build
	@touch ${.TARGET}

stage: ${STAGE_COOKIE}
${STAGE_COOKIE}: ${BUILD_COOKIE}
	@${ECHO_MSG} "===>  Staging for ${PKGNAME}"
	@rm -rf ${STAGEDIR}; mkdir -p ${STAGEDIR}${PREFIX} ${METADIR}
	@cd ${.CURDIR} && ${MAKE} pre-install do-install post-install post-stage
	@${ECHO_MSG} "====> Compressing man pages (compress-man)"
	@touch ${.TARGET}

generate-plist: ${STAGE_COOKIE}
	@${ECHO_MSG} "===>   Generating temporary packing list"
	@(cd ${STAGEDIR} && find . ! -type d | sed 's,^\.,,' | sort) > ${TMPPLIST}
	@/bin/sh ${SCRIPTSDIR}/create-manifest.sh '${PKGBASE}' '${PKGVERSION}' '${PKGORIGIN}' '${PREFIX}' ${COMMENT:Q} \
	    '${MAINTAINER}' '${FLAVOR}' '${OSVERSION}' '${LIB_DEPENDS:C/.*://} ${RUN_DEPENDS:C/.*://}' '${SELECTED_OPTIONS}' '${DESELECTED_OPTIONS}' \
	    '${SHLIBS_REQUIRED}' '${SHLIBS_PROVIDED}' > ${METADIR}/+MANIFEST

package: ${PACKAGE_COOKIE}
${PACKAGE_COOKIE}: ${STAGE_COOKIE} generate-plist
	@${ECHO_MSG} "===>  Building packages for ${PKGNAME}"
	@mkdir -p ${PKGREPOSITORY}
	@${ECHO_MSG} "===>   Building ${PKGNAME}"
	@${PKG_BIN} create -q -m ${METADIR} -p ${TMPPLIST} -r ${STAGEDIR} -o ${PKGREPOSITORY}
	@touch ${.TARGET}

install: ${STAGE_COOKIE} generate-plist
	@${ECHO_MSG} "===>  Installing for ${PKGNAME}"
	@cd ${.CURDIR} && ${MAKE} check-already-installed
	@${ECHO_MSG} "===>   Registering installation for ${PKGNAME}"
	@${PKG_BIN} register -i ${STAGEDIR} -m ${METADIR} -f ${TMPPLIST}
	@touch ${INSTALL_COOKIE}

check-already-installed:
.if !defined(FORCE_PKG_REGISTER)
	@${ECHO_MSG} "===>  Checking if ${PKGBASE} is already installed"
	@if have=$$(${PKG_BIN} query '%n-%v' ${PKGBASE}); then \
		${ECHO_MSG} "===>   $$have is already installed"; \
		${ECHO_MSG} "      You may wish to \`\`make deinstall'' and install this port again"; \
		${ECHO_MSG} "      by \`\`make reinstall'' to upgrade it properly."; \
		${ECHO_MSG} "      If you really wish to overwrite the old port of $$have"; \
		${ECHO_MSG} "      without deleting it first, set the variable \"FORCE_PKG_REGISTER\""; \
		${ECHO_MSG} "      in your environment or the \"make install\" command line."; \
		exit 1; \
	fi
	@for other in ${CONFLICTS_INSTALL:N${PKGBASE}}; do \
		if have=$$(${PKG_BIN} query -g '%n-%v' "$$other"); then \
			${ECHO_MSG} ""; ${ECHO_MSG} "===>  ${PKGNAME} conflicts with installed package(s): "; \
			${ECHO_MSG} "      $$have"; ${ECHO_MSG} ""; \
			${ECHO_MSG} "      They will not build together."; \
			${ECHO_MSG} "      Please remove them first with pkg delete."; \
			exit 1; \
		fi; \
	done
.endif

deinstall:
	@${ECHO_MSG} "===>  Deinstalling for ${PKGBASE}"
	@if ${PKG_BIN} info -e ${PKGBASE}; then \
		${ECHO_MSG} "===>   Deinstalling $$(${PKG_BIN} query '%n-%v' ${PKGBASE})"; \
		${PKG_BIN} delete -fy ${PKGBASE}; \
	else \
		${ECHO_MSG} "===>   ${PKGBASE} not installed, skipping"; \
	fi
	@rm -f ${INSTALL_COOKIE}

reinstall:
	@rm -f ${INSTALL_COOKIE} ${PACKAGE_COOKIE}
	@cd ${.CURDIR} && DEPENDS_TARGET="${DEPENDS_TARGET}" ${MAKE} deinstall install

clean:
	@${ECHO_MSG} "===>  Cleaning for ${PKGNAME}"
	@rm -rf ${WRKDIR}
distclean: clean
	@${ECHO_MSG} "===>  Deleting distfiles for ${PKGNAME}"
	@for file in ${DISTFILES}; do rm -f ${DISTDIR}/${DIST_SUBDIR:D${DIST_SUBDIR}/}$$file; done

# --- what a port may replace -----------------------------------------------------
.if !target(do-configure)
# what configure writes down of how it was called, as autoconf's does
do-configure:
	@cd ${WRKSRC} && printf '%s\n' "'--prefix=${PREFIX}'" ${CONFIGURE_ARGS:@a@"'${a}'"@} "'--build=${ARCH}-portbld-freebsd${OSREL}'" \
	    "'build_alias=${ARCH}-portbld-freebsd${OSREL}'" "'CC=${CC}'" "'CFLAGS=${CFLAGS}'" "'LDFLAGS=${LDFLAGS}'" > config.status.args
.endif
.if defined(NO_BUILD)
do-build:
.elif !target(do-build)
do-build:
	@cd ${WRKSRC} && for file in *.c; do \
		echo '${CC} ${CFLAGS} ${CPPFLAGS} -c '$$file; \
		${CC} ${CFLAGS} ${CPPFLAGS} -c $$file -o $${file%.c}.o || exit 1; \
	done
.endif
.if !target(do-install)
# the daemons are the practice host's own; nothing of them comes from this build
do-install:
	@cp -a /usr/share/standins/ports/${STASH}/. ${STAGEDIR}/
.endif

.include "${PORTSDIR}/Mk/bsd.options.targets.mk"

.PHONY: all check-sanity check-vulnerable fetch do-fetch checksum extract patch configure build stage package install \
	check-already-installed deinstall reinstall clean distclean generate-plist depends missing install-missing-packages \
	build-depends-list run-depends-list all-depends-list \
	showconfig pretty-print-config config config-conditional rmconfig check-config
.endif
