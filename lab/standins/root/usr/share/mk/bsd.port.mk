# Finds the ports tree that the current directory belongs to, else /usr/ports.

.if !defined(PORTSDIR)
.  for up in . .. ../.. ../../..
.    if !defined(_found) && exists(${.CURDIR}/${up}/Mk/bsd.port.mk)
_found:=	${.CURDIR}/${up}
.    endif
.  endfor
PORTSDIR:=	${_found:U/usr/ports:tA}
.endif
.include "${PORTSDIR}/Mk/bsd.port.mk"
