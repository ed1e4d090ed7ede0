//go:build qemu

package qemutests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withLibc is a suite's tree with the packages of its libc at hand, to install them
// once more without a network.
func withLibc(suite string) Variant {
	return Variant{Suite: suite, Script: `
apt-get update -qq
apt-get install -y -qq --reinstall --download-only libc6 libc-bin
mkdir /root/libc
mv /var/cache/apt/archives/*.deb /root/libc
apt-get clean
rm -rf /var/lib/apt/lists/*`}
}

// reinstallLibc has apt install libc once more in a tree, in which /proc is mounted
// meanwhile.
const reinstallLibc = `
mount -t proc proc "$1/proc"
chroot "$1" sh -c 'DEBIAN_FRONTEND=noninteractive TMPDIR=/tmp apt-get install -y --reinstall /root/libc/*.deb'`

// TestUsrDirect has apt install libc once more in the tree below running nodes. With
// sidus.usr=direct and the hook in the tree, programs that run go on, also with
// parts of libc that they had not read before, new programs start, and systemd ends
// the node as usual. By way of the union no program starts any more: so the
// test can fail.
func TestUsrDirect(t *testing.T) {
	t.Parallel()
	Require(t)
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			if suite != "bookworm" {
				Soak(t)
			}
			s := newSiteOf(t, withLibc(suite))
			s.dhcp(DHCPOptions{})
			tree, err := s.CopyTree(s.ctx, s.tree)
			if err != nil {
				t.Fatal(err)
			}
			// The tree changes below ganesha, which is not to remember what was there.
			ganesha := NFSOptions{Exports: []Export{{Path: tree}}, Config: "EXPORT_DEFAULTS { Attr_Expiration_Time = 0; }"}
			if _, err := s.StartNFS(s.ctx, ganesha); err != nil {
				t.Fatal(err)
			}
			root := "nfsroot=" + ServerAddr + ":" + tree + ",vers=3,actimeo=1 "
			reinstall := func() {
				t.Helper()
				out, err := s.Output(s.ctx, "unshare", "--mount", "sh", "-ec", reinstallLibc, "reinstall", tree)
				if err != nil || !strings.Contains(out, "Setting up libc6") {
					t.Fatalf("%v: %s", err, out)
				}
			}

			g := s.boot(root+probeParams, GuestOptions{})
			if r := s.report(g); r.Union.UsrDirect {
				t.Errorf("union %+v", r.Union)
			}
			reinstall()
			s.breaks(g, "ls / >/dev/null")
			g.Kill()

			program, err := filepath.Abs("../bin/sidustree")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Output(s.ctx, program, "touch", tree, "--install-hook"); err != nil {
				t.Fatal(err)
			}
			g = s.boot(root+smallParams+" sidus.usr=direct", GuestOptions{})
			if _, err := failedUnits(g, t); err != nil {
				t.Fatal(err)
			}
			if r := s.report(g); !r.Union.UsrDirect {
				t.Errorf("union %+v, notes %q", r.Union, r.Notes)
			}
			s.same(g, []answer{
				{"findmnt -n -o FSTYPE /usr; findmnt -n -o OPTIONS /usr | cut -d , -f 1", "nfs\nro"},
				{"touch /usr/x 2>/dev/null; echo $?", "1"},
				{"touch /etc/x; echo $?", "0"},
				{"systemctl is-active usr.mount", "active"},
			})
			before := s.run(g, "stat -c %i /usr/lib/*/libc.so.6")
			reinstall()
			s.worksFor(g, 30, "echo 3 >/proc/sys/vm/drop_caches; ls / >/dev/null && dpkg --version >/dev/null && perl -e 'print 42' >/dev/null && tar --version >/dev/null")
			if now := s.run(g, "stat -c %i /usr/lib/*/libc.so.6"); now == before {
				t.Errorf("libc is the same file as before, %s", now)
			}
			// And systemd starts some.
			s.run(g, "printf '[Service]\nType=oneshot\nExecStart=/usr/bin/perl -e 1\n' >/run/systemd/system/new.service; systemctl daemon-reload; systemctl start new.service")
			s.same(g, []answer{
				{"cmp /usr/bin/ldd /ro/usr/bin/ldd && systemctl is-active usr.mount", "active"},
				{"systemctl --failed --no-legend; dmesg | grep -i -e segfault -e 'stale file' || :", ""},
			})
			s.shutsDown(g, "poweroff", PoweredOff)
		})
	}
}

// breaks waits until a command fails in the node.
func (s *site) breaks(g *Guest, command string) {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		out, exit, err := g.Run(s.ctx, command)
		if err != nil {
			s.t.Fatal(err)
		}
		if exit != 0 {
			s.t.Logf("%s: exit status %d: %s", command, exit, strings.TrimSpace(out))
			return
		}
	}
	s.t.Errorf("%s still works", command)
}

// worksFor has a command succeed in the node each second for a while: longer than
// the node remembers anything of the server.
func (s *site) worksFor(g *Guest, seconds int, command string) {
	s.t.Helper()
	for i := range seconds {
		out, exit, err := g.Run(s.ctx, command)
		if err == nil && exit != 0 {
			err = fmt.Errorf("exit status %d: %s", exit, strings.TrimSpace(out))
		}
		if err != nil {
			s.t.Fatalf("second %d: %s: %v", i, command, err)
		}
		time.Sleep(time.Second)
	}
}
