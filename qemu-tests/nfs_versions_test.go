//go:build qemu

package qemutests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestVersionOrder boots a node without a version in its parameters from servers that
// differ in what they serve. Where the question for version 3 has to be given
// up, that costs a second at most: the node's clock is its instructions, and it
// is compared with a boot that is told the version.
func TestVersionOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.dhcp(DHCPOptions{})
	portmapper, err := s.StartPortmapper(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	took := map[string]time.Duration{}
	for _, test := range []struct {
		name, options string
		versions      []int
		silent        bool // the portmapper
		version       string
		compare       bool // with the row "told"
	}{
		{name: "both", version: "3"},
		{name: "told", options: "vers=4.2", versions: []int{4}, version: "4.2"},
		{name: "4only", versions: []int{4}, version: "4.2", compare: true},
		{name: "4onlySilentPortmapper", versions: []int{4}, silent: true, version: "4.2", compare: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := s.with(t)
			server := s.nfs(Export{Versions: test.versions}, NFSOptions{NoPortmapper: true})
			defer server.Stop()
			if test.silent {
				if err := portmapper.Pause(); err != nil {
					t.Fatal(err)
				}
			}
			g := s.boot(s.root(test.options)+" quiet "+probeParams, GuestOptions{Icount: true})
			defer g.Kill()
			e, err := g.WaitStage(s.ctx, "handover", Begin)
			if err != nil {
				t.Fatal(err)
			}
			took[test.name] = e.Uptime
			r := s.report(g)
			t.Logf("version %s, real init at %v, stages %v", r.Root.NFSVersion, e.Uptime, r.Stages)
			if r.Root.NFSVersion != test.version || r.Attempts != 1 {
				t.Errorf("root %+v in attempt %d, want version %s in the first", r.Root, r.Attempts, test.version)
			}
			// "told" is missing where this row runs alone.
			if more := took[test.name] - took["told"]; test.compare && took["told"] != 0 && more > 1200*time.Millisecond {
				t.Errorf("%v more than a boot that is told the version, want a second at most", more)
			}
		})
	}
}

// newestKernel is Debian 13 with the kernel of its backports, 7.3 in November
// 2026.
var newestKernel = Variant{Suite: "trixie", Script: `
echo 'deb http://deb.debian.org/debian trixie-backports main' >/etc/apt/sources.list.d/backports.list
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -t trixie-backports linux-image-amd64
apt-get clean
rm -rf /var/lib/apt/lists/* /etc/apt/sources.list.d/backports.list
# One kernel is enough.
old=$(ls /lib/modules | sort -V | head -n -1)
for k in $old; do rm -rf /lib/modules/$k /boot/*-$k; done
`}

// TestNewestKernel boots the newest kernel from nfs-ganesha 4.3: over version 3
// by itself, and from a server of version 4 only, where 4.2 cannot be read and
// 4.1 not be used through the union, over what is left.
func TestNewestKernel(t *testing.T) {
	t.Parallel()
	s := newSiteOf(t, newestKernel)
	s.dhcp(DHCPOptions{})
	for _, test := range []struct {
		name     string
		versions []int
		version  string
	}{{"both", nil, "3"}, {"4only", []int{4}, "4.0"}} {
		t.Run(test.name, func(t *testing.T) {
			s := s.with(t)
			server := s.nfs(Export{Versions: test.versions}, NFSOptions{})
			defer server.Stop()
			g := s.boot(s.root("")+" "+probeParams, GuestOptions{})
			defer g.Kill()
			r := s.report(g)
			t.Logf("kernel %s, served %v: version %s", r.Kernel, test.versions, r.Root.NFSVersion)
			if r.Root.NFSVersion != test.version || r.Attempts != 1 {
				t.Errorf("served %v: root %+v in attempt %d, want version %s in the first", test.versions, r.Root, r.Attempts, test.version)
			}
			s.same(g, []answer{
				{"cat /usr/share/sidusboot-test/lower", "from the shared tree"},
				{"ls / | grep -c -x -e etc -e usr -e var", "3"},
				{"cut -c1-8 /sys/fs/nfs/net/nfs_client/identifier | wc -c", "9"},
				{"grep -c . /sys/fs/nfs/net/nfs_client/identifier", "1"},
				{`awk '$2 == "/ro" { print $1 }' /proc/mounts`, ServerAddr + ":" + s.tree},
				{"mkdir /etc/x && mv /etc/x /etc/y && ls -d /etc/[xy]", "/etc/y"},
			})
		})
	}
}

// TestNested boots from servers on which another file system begins within the
// tree: the node names it, whether mountd tells of it (version 3) or the mount
// does (version 4). The node's init is a program of 32 bits.
func TestNested(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	dir, err := s.CopyTree(s.ctx, s.tree)
	if err != nil {
		t.Fatal(err)
	}
	const program = "/usr/lib/sidusboot-test/program32"
	compileHello32(t, s.Path(dir+program))
	s.tree = dir
	if _, err := s.Output(s.ctx, "mount", "-t", "tmpfs", "nested", dir+"/usr/local"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.StartNFS(s.ctx, NFSOptions{Exports: []Export{{Path: dir}, {Path: dir + "/usr/local"}}}); err != nil {
		t.Fatal(err)
	}
	s.dhcp(DHCPOptions{})
	for name, options := range map[string]string{"default": "", "v4": "vers=4.1"} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			g := s.boot(s.root(options)+" "+EventParam+" init="+program, GuestOptions{PanicOK: true})
			defer g.Kill()
			s.says(g, "other file systems begin within the tree, at /usr/local, and no node sees them")
			if _, err := g.Expect(s.ctx, "32 bits say hello"); err != nil {
				t.Error(err)
			}
		})
	}
}

// compileHello32 makes a static program of 32 bits that says hello and stays.
func compileHello32(t *testing.T, output string) {
	t.Helper()
	cmd := exec.Command("gcc", "-m32", "-static", "-nostdlib", "-ffreestanding", "-fno-pic", "-x", "c", "-", "-o", output)
	cmd.Stdin = strings.NewReader(`
static int call(int n, int a, const char *b, int c) {
	__asm__ volatile ("int $0x80" : "+a" (n) : "b" (a), "c" (b), "d" (c) : "memory");
	return n;
}
void _start(void) {
	static const char text[] = "32 bits say hello\n";
	call(4, 1, text, sizeof text - 1);
	for (;;)
		call(29, 0, 0, 0); /* pause */
}
`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc -m32: %v: %s", err, out)
	}
	if err := os.Chmod(output, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestGraceUnderPolicy boots a node from a server that was restarted and waits
// for its old clients: under a policy that powers off after a failure, with a
// deadline that is shorter than the grace period, it waits and boots.
func TestGraceUnderPolicy(t *testing.T) {
	t.Parallel()
	Soak(t) // nfs: TestGracePeriod.
	s := newNFSDSite(t)
	server := s.nfsd(NFSDOptions{Grace: 50})
	s.dhcp(DHCPOptions{})
	params := fmt.Sprintf("nfsroot=%s:%s,vers=4.1 %s", NFSDAddr, s.tree, probeParams)
	// A client that does not come back keeps the grace period going to its end.
	gone := s.boot(params, GuestOptions{Name: "gone"})
	s.run(gone, "cat /usr/share/sidusboot-test/lower")
	gone.Kill()
	if err := server.Stop(s.ctx); err != nil {
		t.Fatal(err)
	}
	g := s.boot(params+" sidus.timeout=20 sidus.onerror=poweroff", GuestOptions{})
	if _, err := g.WaitStage(s.ctx, "network", Done); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(s.ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("nfsd: %s", s.run(server.Guest, "dmesg | grep -i -e nfsd -e grace; ls /var/lib/nfs/v4recovery; true"))
	s.says(g, "no file can be opened yet: waiting for the end of its NFSv4 grace period", "handing over")
	if r := s.report(g); r.Attempts != 1 || r.Root.NFSVersion != "4.1" {
		t.Errorf("root %+v in attempt %d", r.Root, r.Attempts)
	}
}
