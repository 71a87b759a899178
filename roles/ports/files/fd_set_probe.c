/*
 * Says, in its object file itself, how large an fd_set is for whoever is compiled with the same flags: read as bytes and never run, so that
 * it serves for any target. Three numbers of nine digits: bytes of an fd_set, FD_SETSIZE, and what -D gave before the header had a say.
 */
#ifdef FD_SETSIZE
#define BY_FLAG FD_SETSIZE
#else
#define BY_FLAG 0
#endif
#include <sys/types.h>
#include <sys/select.h>
#define DIGIT(n, d) (char)('0' + (n) / (d) % 10)
#define DIGITS(n) DIGIT(n, 100000000), DIGIT(n, 10000000), DIGIT(n, 1000000), DIGIT(n, 100000), DIGIT(n, 10000), \
	DIGIT(n, 1000), DIGIT(n, 100), DIGIT(n, 10), DIGIT(n, 1)
extern const char sokuhai_probe[];
const char sokuhai_probe[] = { 's', 'o', 'k', 'u', 'h', 'a', 'i', ' ', 'p', 'r', 'o', 'b', 'e', ' ',
	DIGITS(sizeof(fd_set)), ' ', DIGITS(FD_SETSIZE), ' ', DIGITS(BY_FLAG), ';' };
