#include <sys/types.h>
#include <sys/select.h>
#include <stddef.h>

int
wait_readable(int fd)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return (select(fd + 1, &set, NULL, NULL, NULL));
}
