#include <sys/select.h>

const unsigned long accf_data_fd_set = sizeof(fd_set);
