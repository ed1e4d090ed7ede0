package qemutests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The nodes of the site that RunSite makes: one with a tmpfs, one with a volume.
const (
	siteTmpfs, siteTmpfsAddr   = "node11", "10.77.0.11"
	siteVolume, siteVolumeAddr = "node12", "10.77.0.12"
)

// siteConf is examples/site/site.conf for a lab, with what it is run with there.
func siteConf(suite string) string {
	return fmt.Sprintf(`. "$SCRIPTS/site.conf"
SUITE=%s
SERVER=%s NETWORK=10.77.0.0/24 NETMASK=255.255.255.0 NIC=%s DOMAIN=sidus.test
SRV=${SRV-/srv}
BASE=$SRV/nfsroot/sidus TFTP=/srv/tftp VOLUMES=/srv/volumes KEY=/srv/key SSH_KEY=$SRV/ssh.pub
PROFILE=virtual,iscsi VARIANT=minbase COMPONENTS=main
APPEND="console=ttyS0 %s"
NODES='
%s %s %s -
%s %s %s 256M
'
`, suite, ServerAddr, bridge, EventParam, MAC(1), siteTmpfsAddr, siteTmpfs, MAC(2), siteVolumeAddr, siteVolume)
}

// siteSetUp gives a lab what a server of a site has for itself: /etc and /srv. What
// would start services is done by RunSite: a lab has no systemd.
const siteSetUp = `
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
mkdir -p "$1/srv/nfsroot" "$1/bin" /run/tgtd
mount --bind "$1/srv" /srv
mkdir -p /etc/dnsmasq.d /etc/exports.d /etc/tgt/conf.d
ln -s "$2/initrdgen" "$2/sidustree" "$1/bin"
for name in systemctl exportfs; do
	printf '#!/bin/sh\necho "$0 $*" >>/run/lab/asked\n' >"$1/bin/$name"
	chmod 755 "$1/bin/$name"
done
ssh-keygen -q -t ed25519 -N '' -f /srv/ssh
`

// RunSite follows docs/site.md in a lab: it runs the scripts of examples/site one
// after the other, then boots both of its nodes from the network, and restarts the one
// that keeps its files. It tells what it does by say.
func RunSite(ctx context.Context, lab *Lab, suite string, say func(format string, args ...any)) error {
	bin, err := binDir()
	if err != nil {
		return err
	}
	scripts, err := filepath.Abs(filepath.Join(bin, "../examples/site"))
	if err != nil {
		return err
	}
	// Versions are hard links: a folder on a disk, for this run.
	cache, err := cacheDir("sites")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(cache, "site-")
	if err != nil {
		return err
	}
	// By rm, which leaves alone what is mounted in there.
	defer exec.Command("rm", "-rf", "--one-file-system", dir).Run()
	if _, err := lab.Output(ctx, "sh", "-euc", siteSetUp, "site", dir, bin); err != nil {
		return err
	}
	conf, err := lab.writeFile("site.conf", siteConf(suite))
	if err != nil {
		return err
	}
	script := func(name string) error {
		say("examples/site/%s", name)
		_, err := lab.Output(ctx, "env", "SCRIPTS="+scripts, "SITE="+conf, "PATH="+dir+"/bin:"+os.Getenv("PATH"),
			filepath.Join(scripts, name))
		return err
	}
	// Debian's archive cannot be reached from a lab: these work in the base only.
	outside := func(name string) error {
		say("examples/site/%s", name)
		cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", filepath.Join(scripts, name))
		cmd.Env = append(os.Environ(), "SCRIPTS="+scripts, "SITE="+lab.Path(conf), "SRV="+filepath.Join(dir, "srv"), "PATH="+bin+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, lastLines(string(out), 20))
		}
		return nil
	}
	for _, name := range []string{"1-tree", "2-packages", "3-local", "4-publish"} {
		if err := outside(name); err != nil {
			return err
		}
	}
	if err := script("5-export"); err != nil {
		return err
	}
	if err := lab.serveSite(ctx); err != nil {
		return err
	}
	for _, name := range []string{"6-volumes", "7-image", "8-boot-server"} {
		if err := script(name); err != nil {
			return err
		}
	}
	_, err = lab.Start(ctx, Program{
		Name: "dnsmasq", Argv: []string{"dnsmasq", "--keep-in-foreground", "--log-facility=-", "--user=dnsmasq", // As Debian's unit does.
			"--conf-file=/etc/dnsmasq.d/site.conf", "--dhcp-leasefile=/run/lab/dnsmasq-leases", "--pid-file=/run/lab/dnsmasq.pid", "--port=0"},
		Ready: func(context.Context) error {
			_, err := os.Stat(lab.Path("/run/lab/dnsmasq.pid"))
			return err
		},
	})
	if err != nil {
		return err
	}
	return lab.bootSite(ctx, say)
}

// serveSite starts the servers of volumes and of the base.
func (l *Lab) serveSite(ctx context.Context) error {
	if _, err := l.StartTGT(ctx, nil); err != nil {
		return err
	}
	_, err := l.StartNFS(ctx, NFSOptions{Exports: []Export{{Path: "/srv/nfsroot/sidus"}}})
	return err
}

// bootSite boots both nodes of a site, and looks into them by ssh.
func (l *Lab) bootSite(ctx context.Context, say func(format string, args ...any)) error {
	tmpfs, err := l.bootSiteNode(ctx, GuestOptions{Name: siteTmpfs, Firmware: BIOS, NICs: []NIC{{MAC: MAC(1)}}}, say)
	if err != nil {
		return err
	}
	if err := l.lookAtSite(ctx, tmpfs, siteTmpfsAddr, say, "tmpfs", false); err != nil {
		return err
	}
	tmpfs.Kill()
	volume, err := l.bootSiteNode(ctx, GuestOptions{Name: siteVolume, Firmware: BIOS, NICs: []NIC{{MAC: MAC(2)}}, Reboot: true}, say)
	if err != nil {
		return err
	}
	defer volume.Kill()
	if err := l.lookAtSite(ctx, volume, siteVolumeAddr, say, "ext4", false); err != nil {
		return err
	}
	say("%s restarts", siteVolume)
	// The connection ends with the node.
	_, _ = l.ssh(ctx, siteVolumeAddr, "systemctl reboot")
	if _, err := volume.WaitStageAgain(ctx, "handover", Begin, 2); err != nil {
		return err
	}
	return l.lookAtSite(ctx, volume, siteVolumeAddr, say, "ext4", true)
}

func (l *Lab) bootSiteNode(ctx context.Context, o GuestOptions, say func(format string, args ...any)) (*Guest, error) {
	say("power on: %s", o.Name)
	g, err := l.Boot(ctx, o)
	if err != nil {
		return nil, err
	}
	if _, err := g.WaitStage(ctx, "handover", Begin); err != nil {
		return nil, err
	}
	say("%s: /init is done", o.Name)
	return g, nil
}

// siteLook prints what a node is, and leaves a file that a node with a volume has at
// its next boot.
const siteLook = `echo "$(hostname), $(. /etc/os-release; echo "$PRETTY_NAME"), $(systemctl is-system-running --wait)"
for m in / /ro /rw; do findmnt -n -o TARGET,FSTYPE,SOURCE -M $m; done
cat /root/kept 2>/dev/null; echo "` + siteKept + `" >/root/kept; sync`

const siteKept = "written by an earlier boot"

// lookAtSite logs in on a node and compares: its name, that nothing failed, the file
// system of its layer, and whether it has the file of an earlier boot.
func (l *Lab) lookAtSite(ctx context.Context, g *Guest, addr string, say func(format string, args ...any), layer string, kept bool) error {
	out, err := l.awaitSSH(ctx, g, addr, siteLook)
	if err != nil {
		return err
	}
	say("%s says:\n%s", g.Name(), strings.TrimSpace(out))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	switch {
	case !strings.HasPrefix(lines[0], g.Name()+", ") || !strings.HasSuffix(lines[0], ", running"):
		return fmt.Errorf("%s calls itself %q, want its name and running", g.Name(), lines[0])
	case len(lines) < 4 || !strings.HasPrefix(lines[3], "/rw ") || strings.Fields(lines[3])[1] != layer:
		return fmt.Errorf("%s: its layers are %q, want /rw on %s", g.Name(), lines[1:], layer)
	case kept != (lines[len(lines)-1] == siteKept):
		return fmt.Errorf("%s: file of an earlier boot: %t, want %t", g.Name(), !kept, kept)
	}
	return nil
}

func (l *Lab) ssh(ctx context.Context, addr, command string) (string, error) {
	return l.Output(ctx, "ssh", "-i", "/srv/ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/run/lab/known_hosts",
		"-o", "ConnectTimeout=10", "-o", "BatchMode=yes", "root@"+addr, command)
}

// awaitSSH runs a command on a node as soon as somebody can log in there.
func (l *Lab) awaitSSH(ctx context.Context, g *Guest, addr, command string) (string, error) {
	for {
		out, err := l.ssh(ctx, addr, command)
		if err == nil {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%s: %w: %w", g.Name(), ctx.Err(), err)
		case <-g.done:
			return "", fmt.Errorf("%s ended: %w", g.Name(), err)
		case <-time.After(time.Second):
		}
	}
}
