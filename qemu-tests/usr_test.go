//go:build qemu

package qemutests

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// replaceLibc replaces each file of libc6 in a tree as dpkg does it: a new file,
// renamed over the old one.
const replaceLibc = `
chroot "$1" dpkg -L libc6 libc-bin | while read -r name; do
	if [ -f "$1$name" ] && [ ! -L "$1$name" ]; then
		cp -a "$1$name" "$1$name.dpkg-new"
		mv "$1$name.dpkg-new" "$1$name"
	fi
done
chroot "$1" ldconfig`

// TestUsrDirect replaces libc in the tree below running nodes. With
// sidus.usr=direct new programs start, and systemd ends the node as usual. By way
// of the union no program starts any more: so the test can fail.
func TestUsrDirect(t *testing.T) {
	t.Parallel()
	Require(t)
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			if suite != "bookworm" {
				Soak(t)
			}
			s := newSite(t, suite)
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
			replace := func(g *Guest) {
				t.Helper()
				// What runs goes on with what is in memory of the old libc: the server
				// has it no more (docs/updates.md).
				s.run(g, "ls / >/dev/null; for f in /usr/lib/*/libc.so.6 /usr/lib/*/ld-linux*.so.* /usr/bin/dash; do cat $f >/dev/null; done")
				if out, err := s.Output(s.ctx, "sh", "-c", replaceLibc, "replace", tree); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}

			g := s.boot(root+probeParams, GuestOptions{})
			if r := s.report(g); r.Union.UsrDirect {
				t.Errorf("union %+v", r.Union)
			}
			replace(g)
			s.breaks(g, "ls / >/dev/null")
			g.Kill()

			g = s.boot(root+smallParams+" sidus.usr=direct", GuestOptions{})
			if _, err := failedUnits(g, t); err != nil {
				t.Fatal(err)
			}
			if r := s.report(g); !r.Union.UsrDirect {
				t.Errorf("union %+v, notes %q", r.Union, r.Notes)
			}
			s.same(g, map[string]string{
				"findmnt -n -o FSTYPE /usr; findmnt -n -o OPTIONS /usr | cut -d , -f 1": "nfs\nro",
				"touch /usr/x 2>/dev/null; echo $?":                                     "1",
				"touch /etc/x; echo $?":                                                 "0",
				"systemctl is-active usr.mount":                                         "active",
			})
			replace(g)
			s.worksFor(g, 30, "ls / >/dev/null && dpkg --version >/dev/null && perl -e 'print 42' >/dev/null && tar --version >/dev/null")
			// And systemd starts some.
			s.run(g, "printf '[Service]\nType=oneshot\nExecStart=/usr/bin/perl -e 1\n' >/run/systemd/system/new.service; systemctl daemon-reload; systemctl start new.service")
			s.same(g, map[string]string{"cmp /usr/bin/ldd /ro/usr/bin/ldd && systemctl is-active usr.mount": "active"})
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
