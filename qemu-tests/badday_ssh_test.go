//go:build qemu

package qemutests

import (
	"strings"
	"testing"
)

// withoutHostKeys is a tree whose ssh host keys were removed, as they should be
// before several nodes boot from it.
func withoutHostKeys(suite string) Variant {
	return Variant{Suite: suite, Packages: []string{"openssh-server"}, Script: "rm -f /etc/ssh/ssh_host_*"}
}

const (
	// login goes into the node by its own sshd, as root with a key.
	login = `mkdir -p -m 700 /root/.ssh; test -e /root/.ssh/id || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id
cp /root/.ssh/id.pub /root/.ssh/authorized_keys
ssh -i /root/.ssh/id -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/root/known root@` + NodeAddr + ` 'echo in $(hostname)'`
	fingerprints = "for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done | cut -d' ' -f2"
)

// clonedFstab is of the disk that a tree was copied from. Without nofail its boot
// ends in an emergency shell.
const clonedFstab = `UUID=01234567-89ab-cdef-0123-456789abcdef // ext4 errors=remount-ro 0 1
UUID=1234-ABCD /boot/efi vfat umask=0077 0 1
UUID=89abcdef-89ab-cdef-0123-456789abcdef none swap sw 0 0
/dev/disk/by-label/home /home ext4 defaults 0 2
`

// TestSSHKeys boots nodes of a tree without ssh host keys: each has keys of its
// own and lets people in; a kept layer keeps them. The tree was copied from a disk
// of another machine, whose lines in fstab do not end the boot.
func TestSSHKeys(t *testing.T) {
	t.Parallel()
	Require(t)
	for _, suite := range []string{"trixie", "bookworm"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			if suite == "bookworm" {
				Soak(t) // The same unit does the same.
			}
			s := newSiteOf(t, withoutHostKeys(suite))
			s.image = s.build("--profile=disk")
			s.nfs(Export{}, NFSOptions{})
			s.dhcp(DHCPOptions{Router: ServerAddr})
			_, file := s.keptLayer("disk", 64<<20, "cat >$D/upper/etc/fstab <<'END'\n"+clonedFstab+"END")
			params := s.root("vers=3 ") + EventParam + " sidus.rw=LABEL=node-%I "
			g := s.boot(params+"sidus.fstab=nofail "+AgentParam, localDisk(file))
			s.says(g, "/etc/fstab, line 2, UUID=1234-ABCD on /boot/efi: the device does not exist yet: nofail was added", "line 3", "line 4")
			if _, err := failedUnits(g, t); err != nil {
				t.Fatal(err)
			}
			s.same(g, []answer{
				{"systemctl is-active ssh.service sidusboot-ssh-keys.service", "active\nactive"},
				{"stat -c %a /etc/ssh/ssh_host_ed25519_key", "600"},
				{"cat /etc/fstab", strings.TrimSpace(strings.NewReplacer("UUID=01", "# sidusboot: / is the union already: UUID=01",
					"umask=0077", "umask=0077,nofail", " sw ", " sw,nofail ", "defaults", "defaults,nofail").Replace(clonedFstab))},
				{"ls /ro/etc/ssh | grep -c ssh_host || true", "0"},
			})
			if out := s.run(g, login+" 2>&1"); !strings.HasSuffix(out, "in "+NodeName) {
				t.Errorf("ssh: %s", out)
			}
			first := s.run(g, fingerprints+"; echo LABEL=gone /gone ext4 defaults 0 0 >>/etc/fstab; sync")
			if len(strings.Fields(first)) < 2 {
				t.Errorf("keys %q", first)
			}
			g.Kill()

			g = s.boot(params+"init="+AgentInit, localDisk(file))
			s.says(g, "/etc/fstab, line 5, LABEL=gone on /gone: the device does not exist yet", "set sidus.fstab=nofail")
			s.same(g, []answer{{fingerprints, first}})
		})
	}
}
