/*
 * What a build of this port really makes: an object for FreeBSD in which the size
 * of an fd_set can be read, as the compiler saw it. Nothing of it is run.
 */
#include <sys/types.h>
#include <sys/select.h>

unsigned char fd_set_bytes[sizeof(fd_set)] = { 1 };
const unsigned int fd_setsize = FD_SETSIZE;
