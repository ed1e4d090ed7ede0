/* floor is the least that can be done from /init to the real init: the modules
 * in a fixed order, a fixed address, no checks, no choices, no messages. It is
 * what the benchmark's ratios are taken against. Words of the build: ADDR,
 * SERVER, TREE, PROGRAM. The modules are /m/00 … in their order. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void set(int s, unsigned long request, struct ifreq *r, const char *addr)
{
	struct sockaddr_in *a = (struct sockaddr_in *)&r->ifr_addr;

	memset(a, 0, sizeof *a);
	a->sin_family = AF_INET;
	inet_pton(AF_INET, addr, &a->sin_addr);
	ioctl(s, request, r);
}

int main(void)
{
	struct ifreq r;
	char path[16];
	int fd, s, i;

	for (i = 0;; i++) {
		snprintf(path, sizeof path, "/m/%02d", i);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			break;
		syscall(SYS_finit_module, fd, "", 0);
		close(fd);
	}
	s = socket(AF_INET, SOCK_DGRAM, 0);
	memset(&r, 0, sizeof r);
	strcpy(r.ifr_name, "eth0");
	set(s, SIOCSIFADDR, &r, ADDR);
	set(s, SIOCSIFNETMASK, &r, "255.255.255.0");
	ioctl(s, SIOCGIFFLAGS, &r);
	r.ifr_flags |= IFF_UP;
	ioctl(s, SIOCSIFFLAGS, &r);
	mkdir("/ro", 0755);
	mkdir("/rw", 0755);
	mkdir("/aufs", 0755);
	while (mount(SERVER ":" TREE, "/ro", "nfs", MS_RDONLY,
		     "vers=3,proto=tcp,nolock,addr=" SERVER ",mountaddr=" SERVER ",mountproto=tcp"))
		;
	mount("rw", "/rw", "tmpfs", 0, "mode=0755");
	mkdir("/rw/upper", 0755);
	mkdir("/rw/work", 0755);
	mount("overlay", "/aufs", "overlay", 0, "lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work");
	mount("dev", "/aufs/dev", "devtmpfs", 0, 0);
	if (chdir("/aufs") || mount(".", "/", 0, MS_MOVE, 0) || chroot("."))
		return 1;
	execl(PROGRAM, PROGRAM, (char *)0);
	return 1;
}
