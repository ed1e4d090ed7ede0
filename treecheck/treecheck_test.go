package treecheck

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/exports"
	"github.com/sidusboot/sidusboot/stamp"
)

// good makes a tree in which there is nothing to find, and runs a script in it.
func good(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-ec", `umask 022
mkdir -p usr/sbin etc lib/modules/6.1 boot dev tmp; chmod 1777 tmp
ln -s usr/sbin sbin; ln -s usr/bin bin; echo >usr/sbin/init; chmod 755 usr/sbin/init
touch lib/modules/6.1/modules.dep boot/vmlinuz-6.1 etc/machine-id
`+script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// TestCheck provokes every finding.
func TestCheck(t *testing.T) {
	root := os.Geteuid() == 0
	for _, test := range []struct {
		name, script string
		want         []string
		root         bool
	}{
		{name: "good"},
		{name: "no init", script: "rm usr/sbin/init", want: []string{"fatal init"}},
		{name: "dangling init", script: "rm usr/sbin/init; ln -s /lib/systemd/systemd usr/sbin/init", want: []string{"fatal init"}},
		{name: "init leads out", script: "rm usr/sbin/init; ln -s ../../../../../../../../../bin/sh usr/sbin/init", want: []string{"fatal init"}},
		{name: "init is no program", script: "chmod 644 usr/sbin/init", want: []string{"fatal init"}},
		{name: "a shell only", script: "rm usr/sbin/init; mkdir usr/bin; touch usr/bin/sh; chmod 755 usr/bin/sh", want: []string{"warning init"}},
		{name: "no modules", script: "rm -r lib/modules boot/*", want: []string{"fatal modules"}},
		{name: "kernel without modules", script: "touch boot/vmlinuz-6.2", want: []string{"warning kernel-without-modules"}},
		{name: "no kernel", script: "rm boot/*", want: []string{"note no-kernel"}},
		{name: "old image", script: "touch -d 2001-01-01 boot/initrd.img-6.1", want: []string{"warning old-image"}},
		{name: "machine-id", script: "echo 0123456789abcdef0123456789abcdef >etc/machine-id", want: []string{"note machine-id"}},
		{name: "ssh", script: "mkdir etc/ssh; touch etc/ssh/ssh_host_rsa_key etc/ssh/ssh_host_rsa_key.pub", want: []string{"warning ssh-keys"}},
		{name: "seed", script: "mkdir -p var/lib/systemd; echo x >var/lib/systemd/random-seed", want: []string{"warning random-seed"}},
		{name: "hostname", script: "echo tree >etc/hostname", want: []string{"note hostname"}},
		{name: "fstab", script: "printf 'UUID=1 / ext4\n# UUID=2 /x ext4\nUUID=3 /boot/efi vfat umask=077 0 1\nUUID=4 none swap sw,nofail\nserver:/home /home nfs\n' >etc/fstab",
			want: []string{"warning fstab"}},
		{name: "resolv.conf", script: "ln -s /etc/gone etc/resolv.conf", want: []string{"note resolv.conf"}},
		{name: "resolved", script: "ln -s ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf"},
		{name: "loopback resolver", script: "printf 'nameserver 127.0.0.53\\noptions edns0\\n' >etc/resolv.conf", want: []string{"note resolv.conf"}},
		{name: "loopback resolver that is there", script: "echo nameserver 127.0.0.1 >etc/resolv.conf; touch usr/sbin/unbound; chmod 755 usr/sbin/unbound"},
		{name: "two resolvers", script: "printf 'nameserver 127.0.0.1\\nnameserver 10.0.0.1\\n' >etc/resolv.conf"},
		{name: "no modules.dep", script: "mkdir -p lib/modules/6.2/kernel", want: []string{"warning modules-dep"}},
		{name: "an empty directory of modules", script: "mkdir -p lib/modules/6.2"},
		{name: "half a package", script: "mkdir -p var/lib/dpkg; printf 'Package: a\\nStatus: install ok installed\\n\\nPackage: b\\nStatus: install ok half-configured\\n\\nPackage: c\\nStatus: deinstall ok config-files\\n' >var/lib/dpkg/status",
			want: []string{"warning packages"}},
		{name: "nologin", script: "touch etc/nologin", want: []string{"warning nologin"}},
		{name: "policy-rc.d", script: "touch usr/sbin/policy-rc.d", want: []string{"note policy-rc.d"}},
		{name: "stamp", script: "mkdir -p etc/sidusboot/stamp", want: []string{"warning stamp"}},
		{name: "half a hook", script: "mkdir -p etc/sidusboot; echo x >etc/sidusboot/dpkg-hook", want: []string{"warning hook"}},
		{name: "aside is a link", script: "ln -s tmp .sidusboot-aside", want: []string{"warning aside"}},
		{name: "aside is open", script: "mkdir -m 755 .sidusboot-aside", want: []string{"warning aside-open"}},
		{name: "set aside", script: "mkdir -m 700 .sidusboot-aside; mkdir -p .sidusboot-aside/until-20261203-120000-7; touch .sidusboot-aside/until-20261203-120000-7/.wh.x", want: []string{"note set-aside"}},
		{name: "aufs", script: "touch etc/.wh.x", want: []string{"warning aufs-whiteouts"}},
		{name: "whiteout", script: "mknod etc/gone c 0 0", want: []string{"warning whiteouts"}, root: true},
		{name: "device", script: "mknod etc/null c 1 3; mknod dev/null c 1 3", want: []string{"note devices"}, root: true},
		{name: "capability", script: "touch usr/sbin/ping; setcap cap_net_raw+ep usr/sbin/ping", want: []string{"warning file-capabilities"}, root: true},
		{name: "world writable", script: "touch etc/w; chmod 666 etc/w; mkdir etc/d; chmod 777 etc/d", want: []string{"warning writable-files", "warning writable-directories"}},
		{name: "socket", script: `perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local=>"etc/s",Listen=>1) or die'`, want: []string{"note sockets"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.root && !root {
				t.Skip("only root can make it")
			}
			found, err := Check(t.Context(), good(t, test.script), Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				got = append(got, string(f.Severity)+" "+f.Name)
				if f.Problem == "" || f.Remedy == "" || f.Count == 0 || len(f.Paths) == 0 {
					t.Errorf("%+v", f)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
			var fatal *FatalError
			if wanted := slices.ContainsFunc(test.want, func(s string) bool { return strings.HasPrefix(s, "fatal") }); errors.As(FatalFindings(found), &fatal) != wanted {
				t.Errorf("refused: %v", FatalFindings(found))
			}
		})
	}
}

// TestTexts has texts in a tree that a terminal would obey, and looks at it by a
// relative path.
func TestTexts(t *testing.T) {
	dir := good(t, `printf '\033[2J%300s' x >etc/hostname; ln -s "/gone
$(printf '\302\233')31m" etc/resolv.conf; touch .wh.x; mkfifo etc/fstab; ln -s loop etc/loop; ln -s .. etc/up`)
	t.Chdir(dir)
	found, err := Check(t.Context(), ".", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.Name)
		if strings.ContainsAny(f.Problem, "\x1b\n\u009b") || len(f.Problem) > 400 {
			t.Errorf("%q", f.Problem)
		}
		if f.Name == "aufs-whiteouts" && f.Paths[0] != "/.wh.x" {
			t.Errorf("%q", f.Paths)
		}
	}
	if want := []string{"aufs-whiteouts", "hostname", "resolv.conf"}; !slices.Equal(names, want) {
		t.Errorf("found %q, want %q", names, want)
	}
}

// TestMounts has to be in a mount namespace of its own.
func TestMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	dir := good(t, "mkdir proc")
	cmd := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-ec", "mount -t tmpfs none "+dir+"/proc; exec "+os.Args[0]+" -test.run '^TestMountsInside$' -test.v")
	cmd.Env = append(os.Environ(), "SIDUSBOOT_TREE="+dir)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestMountsInside is TestMounts in its namespace.
func TestMountsInside(t *testing.T) {
	dir := os.Getenv("SIDUSBOOT_TREE")
	if dir == "" {
		t.Skip("run by TestMounts")
	}
	found, err := Check(t.Context(), dir, Options{})
	if err != nil || len(found) != 1 || found[0].Name != "mounts" || !slices.Equal(found[0].Paths, []string{"/proc"}) {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestGoodHook has the hook of this sidustree in a tree.
func TestGoodHook(t *testing.T) {
	dir := good(t, "mkdir -p var/lib/dpkg")
	tr, err := stamp.Open(dir)
	if err == nil {
		_, err = tr.InstallHook(time.Hour)
	}
	if err != nil {
		t.Fatal(err)
	}
	if found, err := Check(t.Context(), dir, Options{}); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestBase wants a tree, not a base.
func TestBase(t *testing.T) {
	dir := good(t, "mkdir .sidustree versions staging")
	if _, err := Check(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), "is a base") {
		t.Errorf("got %v", err)
	}
}

func TestExports(t *testing.T) {
	dir := filepath.Join(good(t, "mkdir 'a b'; mv * 'a b' || :"), "a b")
	etab := filepath.Join(t.TempDir(), "etab")
	escaped := strings.ReplaceAll(dir, " ", `\040`)
	text := escaped + "\t10.0.0.0/8(rw,sync,root_squash,no_all_squash)\n" + filepath.Dir(dir) + " *(ro,no_root_squash)\n/srv/other *(rw,root_squash)\n" + escaped + "x *(rw,root_squash)\n"
	if err := os.WriteFile(etab, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	sources := exports.Sources{Table: etab, Conf: []string{filepath.Join(t.TempDir(), "nfs.conf")}}
	found, err := Check(t.Context(), dir, Options{Exports: sources})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].Name != "root-squash" || found[1].Name != "writable-export" ||
		!slices.Equal(found[0].Paths, []string{dir + " for 10.0.0.0/8"}) {
		t.Errorf("%+v", found)
	}
	// Below a rootdir these are other directories, and the tree is another export.
	text = "/a\\040b *(ro,root_squash)\n" + escaped + " *(rw,no_root_squash)\n"
	if err := errors.Join(os.WriteFile(etab, []byte(text), 0o644), os.WriteFile(sources.Conf[0], []byte("[exports]\nrootdir="+filepath.Dir(dir)+"\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	found, err = Check(t.Context(), dir, Options{Exports: sources})
	if err != nil || len(found) != 1 || found[0].Name != "root-squash" || !slices.Equal(found[0].Paths, []string{"/a b for *"}) {
		t.Errorf("below a rootdir: %+v, %v", found, err)
	}
}
