#include <sys/select.h>

const unsigned long pf_fd_set = sizeof(fd_set);
