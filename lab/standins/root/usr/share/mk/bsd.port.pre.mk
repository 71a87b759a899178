_WANT=	pre
.include <bsd.port.mk>
.undef _WANT
