# Which options a port has and which are on. In the order of the real one, each
# step over the former: the port's defaults, OPTIONS_SET, OPTIONS_UNSET, the
# port's own _SET and _UNSET, the saved file, the same four with _FORCE, WITH,
# WITHOUT, and what a flavor demands.
#
# What it sets, as the real one: COMPLETE_OPTIONS_LIST, PORT_OPTIONS,
# SELECTED_OPTIONS, DESELECTED_OPTIONS, NEW_OPTIONS.

OPTIONS_NAME?=	${PKGORIGIN:S,/,_,}
OPTIONS_FILE?=	${PORT_DBDIR}/${OPTIONS_NAME}/options

ALL_OPTIONS=	${OPTIONS_DEFINE:O:u}
.for drop in ${OPTIONS_EXCLUDE} ${OPTIONS_SLAVE}
ALL_OPTIONS:=	${ALL_OPTIONS:N${drop}}
OPTIONS_DEFAULT:=	${OPTIONS_DEFAULT:N${drop}}
.endfor
COMPLETE_OPTIONS_LIST:=	${ALL_OPTIONS}
.for kind in SINGLE RADIO MULTI GROUP
.  for set in ${OPTIONS_${kind}}
COMPLETE_OPTIONS_LIST+=	${OPTIONS_${kind}_${set}}
.  endfor
.endfor

# these the tree switches on for every port that has them
PORT_OPTIONS=	DOCS NLS EXAMPLES IPV6 ${OPTIONS_DEFAULT}
.for drop in ${OPTIONS_EXCLUDE}
PORT_OPTIONS:=	${PORT_OPTIONS:N${drop}}
.endfor
NEW_OPTIONS:=	${COMPLETE_OPTIONS_LIST}

.if exists(${OPTIONS_FILE}) && !make(rmconfig)
.include "${OPTIONS_FILE}"
.endif
.if exists(${OPTIONS_FILE}.local)
.include "${OPTIONS_FILE}.local"
.endif

.for pair in OPTIONS_SET:OPTIONS_UNSET ${OPTIONS_NAME}_SET:${OPTIONS_NAME}_UNSET \
	OPTIONS_FILE_SET:OPTIONS_FILE_UNSET OPTIONS_SET_FORCE:OPTIONS_UNSET_FORCE \
	${OPTIONS_NAME}_SET_FORCE:${OPTIONS_NAME}_UNSET_FORCE WITH:WITHOUT
.  for opt in ${${pair:C/:.*//}}
.    if !empty(COMPLETE_OPTIONS_LIST:M${opt})
PORT_OPTIONS:=	${PORT_OPTIONS} ${opt}
NEW_OPTIONS:=	${NEW_OPTIONS:N${opt}}
.    endif
.  endfor
.  for opt in ${${pair:C/.*://}}
PORT_OPTIONS:=	${PORT_OPTIONS:N${opt}}
NEW_OPTIONS:=	${NEW_OPTIONS:N${opt}}
.  endfor
.endfor

PORT_OPTIONS:=	${PORT_OPTIONS} ${OPTIONS_SLAVE}
PORT_OPTIONS:=	${PORT_OPTIONS:O:u}

SELECTED_OPTIONS=	${COMPLETE_OPTIONS_LIST:@o@${PORT_OPTIONS:M${o}}@:O:u}
DESELECTED_OPTIONS=	${COMPLETE_OPTIONS_LIST:@o@${"${PORT_OPTIONS:M${o}}":?:${o}}@:O:u}
