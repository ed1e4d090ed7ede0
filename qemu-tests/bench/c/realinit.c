/* realinit stands in for the tree's init in the benchmark: it tells when it
 * was started, when /init was, and what memory is left, then switches off.
 * Its line on standard output: realinit=S init=S unpack=S memavailable=KB */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

/* stamp is the kernel's time of the first log line that holds text. */
static double stamp(const char *text)
{
	char record[8192];
	ssize_t n;
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	while (fd >= 0 && (n = read(fd, record, sizeof record - 1)) > 0) {
		record[n] = 0;
		if (strstr(record, text)) {
			long long micro = 0;
			sscanf(record, "%*[^,],%*[^,],%lld", &micro);
			close(fd);
			return micro / 1e6;
		}
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static long available(void)
{
	char line[256];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "MemAvailable: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

int main(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	mount("proc", "/proc", "proc", 0, 0);
	mount("dev", "/dev", "devtmpfs", 0, 0);
	/* A peer may hold its own freed memory a moment longer. */
	long kb = available();
	int fd = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
	if (fd >= 0)
		dup2(fd, 1);
	printf("\nrealinit=%.3f init=%.3f unpack=%.3f freed=%.3f memavailable=%ld\n",
	       now.tv_sec + now.tv_nsec / 1e9, stamp("Run /init as init"),
	       stamp("Trying to unpack"), stamp("Freeing initrd memory"), kb);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
