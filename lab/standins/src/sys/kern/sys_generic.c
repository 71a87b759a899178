/* What this kernel's build took an fd_set to be. */
#include <sys/select.h>

unsigned char fd_set_bytes[sizeof(fd_set)] = { 1 };
const unsigned int fd_setsize = FD_SETSIZE;
