# For ports that ask for PORT_OPTIONS before their own rules.

_WANT=	options
.include <bsd.port.mk>
.undef _WANT
