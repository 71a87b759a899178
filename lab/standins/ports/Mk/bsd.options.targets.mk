# showconfig, pretty-print-config, config, rmconfig, check-config.

_DIRECTION_SINGLE=	you have to select exactly one of them
_DIRECTION_RADIO=	you can only select none or one of them
_DIRECTION_MULTI=	you have to choose at least one of them
_DIRECTION_GROUP=	you can select none or any number of them

showconfig:
.if empty(COMPLETE_OPTIONS_LIST)
	@${ECHO_MSG} "===> No options to configure"
.else
	@${ECHO_MSG} "===> The following configuration options are available for ${PKGNAME}:"
.  for opt in ${ALL_OPTIONS}
	@${ECHO_MSG} "     ${opt}=${"${PORT_OPTIONS:M${opt}}":?on:off}: ${${opt}_DESC:U${opt}}"
.  endfor
.  for kind in MULTI SINGLE RADIO GROUP
.    for set in ${OPTIONS_${kind}}
	@${ECHO_MSG} "====> ${${set}_DESC:UOptions available for the ${kind:tl} ${set}}: ${_DIRECTION_${kind}}"
.      for opt in ${OPTIONS_${kind}_${set}}
	@${ECHO_MSG} "     ${opt}=${"${PORT_OPTIONS:M${opt}}":?on:off}: ${${opt}_DESC:U${opt}}"
.      endfor
.    endfor
.  endfor
	@${ECHO_MSG} "===> Use 'make config' to modify these settings"
.endif

_OPEN_SINGLE=	(
_OPEN_RADIO=	(
_OPEN_MULTI=	[
_OPEN_GROUP=	[
_CLOSE_SINGLE=	)
_CLOSE_RADIO=	)
_CLOSE_MULTI=	]
_CLOSE_GROUP=	]
pretty-print-config:
	@printf '%s ' ${ALL_OPTIONS:@o@${"${PORT_OPTIONS:M${o}}":?+:-}${o}@}
.for kind in MULTI GROUP SINGLE RADIO
.  for set in ${OPTIONS_${kind}}
	@printf '%s ' '${set}${_OPEN_${kind}}' ${OPTIONS_${kind}_${set}:@o@${"${PORT_OPTIONS:M${o}}":?+:-}${o}@} '${_CLOSE_${kind}}'
.  endfor
.endfor
	@echo

# the real one opens a dialogue, which without a terminal changes nothing
config:
	@${ECHO_MSG} "===> Options unchanged"
config-conditional:
.if !defined(BATCH) && !defined(NO_DIALOG) && !empty(NEW_OPTIONS)
	@${ECHO_MSG} "===> Options unchanged"
.endif

rmconfig:
.if exists(${OPTIONS_FILE})
	@${ECHO_MSG} "===> Removing user-configured options for ${PKGNAME}"
	@rm -f ${OPTIONS_FILE}; rmdir ${OPTIONS_FILE:H} 2>/dev/null || :
.else
	@${ECHO_MSG} "===> No user-specified options configured for ${PKGNAME}"
.endif

.for set in ${OPTIONS_SINGLE}
.  if ${OPTIONS_SINGLE_${set}:@o@${PORT_OPTIONS:M${o}}@:[#]} != 1 || empty(OPTIONS_SINGLE_${set}:@o@${PORT_OPTIONS:M${o}}@)
_BAD_SINGLE+=	${set}
.  endif
.endfor
.for set in ${OPTIONS_RADIO}
.  if ${OPTIONS_RADIO_${set}:@o@${PORT_OPTIONS:M${o}}@:[#]} > 1
_BAD_RADIO+=	${set}
.  endif
.endfor
check-config:
.for set in ${_BAD_SINGLE}
	@${ECHO_MSG} "====> You must select one and only one option from the ${set} single"
.endfor
.for set in ${_BAD_RADIO}
	@${ECHO_MSG} "====> You cannot select multiple options from the ${set} radio"
.endfor
.if !empty(_BAD_SINGLE) || !empty(_BAD_RADIO)
	@exit 1
.endif
