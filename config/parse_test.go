package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseDefaults(t *testing.T) {
	got, err := Parse("", "")
	want := Config{
		Timeout: time.Minute, LeaseTimeout: 90 * time.Second, RW: RW{Kind: "tmpfs", Size: "50%", Fallback: "none", Mismatch: "keep", MkFS: "never"},
		Modules: map[string]string{}, Blacklist: map[string]bool{}, Consumed: map[string]bool{},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Parse of nothing = %+v, %v, want %+v", got, err, want)
	}
}

func TestParseParameters(t *testing.T) {
	for _, tt := range []struct {
		cmdline, file string
		get           func(Config) any
		want          any
	}{
		{"init=/sbin/init", "", func(c Config) any { return c.Init }, "/sbin/init"},
		{"quiet", "", func(c Config) any { return c.Quiet }, true},
		{"panic=30", "", func(c Config) any { return *c.Panic }, 30},
		{"panic=-1", "", func(c Config) any { return *c.Panic }, -1},
		{"sidus.timeout=20", "", func(c Config) any { return c.Timeout + c.LeaseTimeout }, 40 * time.Second},
		{"sidus.nic=eth1", "", func(c Config) any { return c.NIC.Name }, "eth1"},
		{"sidus.nic=driver=mlx5_core", "", func(c Config) any { return c.NIC }, NIC{Driver: "mlx5_core"}},
		{"sidus.nic=52:54:00:12:34:56", "", func(c Config) any { return c.NIC.MAC.String() }, "52:54:00:12:34:56"},
		{"sidus.dad=0", "sidus.dad=1", func(c Config) any { return c.TrustAddress }, true},
		{"bootdev=eth1", "bootdev=eth0", func(c Config) any { return c.BootDev }, "eth1"},
		{"sidus.identity=none", "", func(c Config) any { return c.IdentityOff["hosts"] && c.IdentityOff["entropy"] }, true},
		{"sidus.identity=all", "sidus.identity=none", func(c Config) any { return len(c.IdentityOff) }, 0},
		{"sidus.identity=-hosts,-nvme", "", func(c Config) any { return fmt.Sprint(c.IdentityOff) }, "map[hosts:true nvme:true]"},
		{"systemd.machine_id=firmware", "", func(c Config) any { return fmt.Sprint(c.IdentityOff) }, "map[machine-id:true]"},
		{"sidus.ib=ib0:10.20.%3.%4/16 sidus.ib=ib1:10.21.%3.%4/16", "", func(c Config) any {
			p, err := c.IBs[1].Address(addr("10.77.1.11"))
			return fmt.Sprint(len(c.IBs), p, err)
		}, "2 10.21.1.11/16 <nil>"},
		{"sidus.identity=hosts", "", func(c Config) any { return []bool{c.IdentityOff["hosts"], c.IdentityOff["nvme"]} }, []bool{false, true}},
		{"panic=0x10", "", func(c Config) any { return *c.Panic }, 16},
		{"sidus.lease=tree", "", func(c Config) any { return c.LeaseOwner }, OwnerTree},
		{"", "sidus.lease=tree", func(c Config) any { return c.LeaseOwner }, OwnerTree},
		{"sidus.lease=resident", "sidus.lease=tree", func(c Config) any { return c.LeaseOwner }, OwnerResident},
		{"sidus.onerror=shell", "", func(c Config) any { return c.OnError }, Shell},
		{"sidus.events=/dev/ttyS1", "", func(c Config) any { return c.Events }, "ttyS1"},
		{"sidus.timeout=5", "", func(c Config) any { return c.Timeout }, 5 * time.Second},
		{"rd.break", "", func(c Config) any { return c.Break }, true},
		{"rd.break=pre-pivot", "", func(c Config) any { return c.Break }, true},
		{"BOOTIF=01-52-54-00-12-34-56", "", func(c Config) any { return c.BootIF.String() }, "52:54:00:12:34:56"},
		{"sidus.hostname=node-%I", "", func(c Config) any { return c.Hostname }, "node-%I"},
		{"sidus.union=overlay", "", func(c Config) any { return c.Union }, UnionOverlay},
		{"sidus.version=2026-11.a", "", func(c Config) any { return c.TreeVersion }, "2026-11.a"},
		{"sidus.ro.strict=1", "", func(c Config) any { return c.RefuseWritable }, true},
		{"sidus.rw=iscsi", "", func(c Config) any { return c.RW.Kind }, "iscsi"},
		{"sidus.rw=LABEL=scratch-%h", "", func(c Config) any { return c.RW.Kind + " " + c.RW.Device }, "device LABEL=scratch-%h"},
		{`sidus.rw="LABEL=my disk"`, "", func(c Config) any { return c.RW.Device }, "LABEL=my disk"},
		{"sidus.rw=/dev/disk/by-id/x", "", func(c Config) any { return c.RW.Device }, "/dev/disk/by-id/x"},
		{"sidus.rw.size=1048576", "", func(c Config) any { return c.RW.Size }, "1048576"},
		{"sidus.rw.size=2G", "", func(c Config) any { return c.RW.Size }, "2G"},
		{"sidus.rw.size=100%", "", func(c Config) any { return c.RW.Size }, "100%"},
		{"sidus.rw.fallback=tmpfs", "", func(c Config) any { return c.RW.Fallback }, "tmpfs"},
		{"sidus.mkfs=blank", "", func(c Config) any { return c.RW.MkFS }, "blank"},
		{"sidus.rw.takeover=0x00ff00000000000f", "", func(c Config) any { return c.RW.Takeover }, uint64(0xff00000000000f)},
		{"sidus.rw.adopt=scratch-%I", "", func(c Config) any { return c.RW.Adopt }, "scratch-%I"},
		{"modprobe.blacklist=a-b,c module_blacklist=d", "modprobe.blacklist=e", func(c Config) any { return c.Blacklist },
			map[string]bool{"a_b": true, "c": true, "d": true, "e": true}},
		{"nfs-layout.max-x=1 e1000e.IntMode=1,1 nfs_layout.y=2 loop.flag", "nfs_layout.z=\"a b\"", func(c Config) any { return c.Modules },
			map[string]string{"nfs_layout": `z="a b" max-x=1 y=2`, "e1000e": "IntMode=1,1", "loop": "flag"}},
		{"rd.neednet=1 systemd.unit=x sidus.rw=tmpfs a=b.c /x.y=1 BOOT_IMAGE=vmlinuz-6.1", "", func(c Config) any { return len(c.Modules) }, 0},

		// Precedence.
		{"sidus.rw=tmpfs sidus.rw=iscsi", "sidus.rw=/dev/sda1", func(c Config) any { return c.RW.Kind }, "iscsi"},
		{"", "sidus.rw=/dev/sda1", func(c Config) any { return c.RW.Kind }, "device"},
		{"ip=eth1:dhcp ip=eth0:dhcp", "ip=off", func(c Config) any { return c.IPs }, []IP{{Device: "eth1"}, {Device: "eth0"}}},
		{"quiet", "ip=off", func(c Config) any { return c.IPs }, []IP{{Method: MethodOff}}},
		{"", "nfsroot=10.0.0.1:/a", func(c Config) any { return c.FileRoot }, Root{Server: "10.0.0.1", Path: "/a", Origin: "/etc/sidusboot.conf"}},
		{"-- sidus.rw=iscsi", "", func(c Config) any { return c.RW.Kind }, "tmpfs"},
		{"sidus.rw.size=wrong sidus.rw.size=1g", "", func(c Config) any { return c.RW.Size }, "1g"},
		{"root=nfs:10.0.0.1:/a", "root=/dev/sda1", func(c Config) any { return c.Root.Path }, "/a"},
		{"root=/dev/sda1", "nfsroot=10.0.0.1:/a", func(c Config) any { return c.FileRoot.Path }, "/a"},

		// iSCSI, by our parameters and Debian's.
		{"sidus.iscsi.portal=10.0.0.2 sidus.iscsi.portal=[2001:db8::1]:3261,nas sidus.iscsi.target=iqn.2003-01.org.x:%i sidus.iscsi.lun=3 sidus.iscsi.user=u sidus.iscsi.password=p sidus.iscsi.user_in=ui sidus.iscsi.password-in=pi sidus.iscsi.initiator=iqn.2003-01.org.x:me", "",
			func(c Config) any { return c.ISCSI },
			ISCSI{Portals: []string{"10.0.0.2:3260", "[2001:db8::1]:3261", "nas:3260"}, Target: "iqn.2003-01.org.x:%i",
				Initiator: "iqn.2003-01.org.x:me", LUN: 3, User: "u", Password: "p", UserIn: "ui", PasswordIn: "pi"}},
		{"iscsi_target_port=3261 ISCSI_TARGET_IP=10.0.0.2 iscsi_target_name=iqn.x iscsi_username=u iscsi_password=p ISCSI_IN_USERNAME=ui iscsi_in_password=pi ISCSI_INITIATOR=iqn.me", "",
			func(c Config) any { return c.ISCSI },
			ISCSI{Portals: []string{"10.0.0.2:3261"}, Target: "iqn.x", Initiator: "iqn.me", User: "u", Password: "p", UserIn: "ui", PasswordIn: "pi"}},
		{"sidus.iscsi.chap=sha256,md5", "sidus.iscsi.chap=sha1", func(c Config) any { return c.ISCSI.CHAP }, []string{"sha256", "md5"}},
		{"sidus.rw=iscsi", "", func(c Config) any { return c.RW.Mismatch }, "keep"},
		{"sidus.rw.mismatch=stop", "", func(c Config) any { return c.RW.Mismatch }, "stop"},
		{"sidus.rw.reset=2026-11-26_a:1.b", "", func(c Config) any { return c.RW.Reset }, "2026-11-26_a:1.b"},
		{"sidus.usr=union", "sidus.usr=direct", func(c Config) any { return c.UsrDirect }, false},
		{"sidus.follow=idle", "", func(c Config) any { return c.Follow }, FollowIdle},
		{"sidus.follow=later", "", func(c Config) any { return c.Follow }, FollowBoot},
		{"sidus.follow.spread=600", "", func(c Config) any { return c.Spread }, 10 * time.Minute},
		{"sidus.follow.spread=-1", "", func(c Config) any { return c.Spread }, time.Duration(0)},
		{"", "sidus.usr=direct", func(c Config) any { return c.UsrDirect }, true},
		{"iscsi_target_name=iqn.new", "sidus.iscsi.target=iqn.old", func(c Config) any { return c.ISCSI.Target }, "iqn.new"},
	} {
		t.Run(tt.cmdline+" "+tt.file, func(t *testing.T) {
			c, err := Parse(tt.cmdline, tt.file)
			if got := tt.get(c); err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Parse(%q, %q) = %#v, %v, want %#v", tt.cmdline, tt.file, got, err, tt.want)
			}
		})
	}
}

var longToken = strings.Repeat("x", maxToken+1)

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"sidus.ib=ib0":                      "no address",
		"sidus.ib=ib0:10.20.%3.%4":          "not an IPv4 address",
		"sidus.ib=ib0:10.20.%5.%4/16":       "not an IPv4 address",
		"sidus.ib=ib0:10.20.1%3.%4/16":      "not an IPv4 address",
		"sidus.ib=i/0:10.20.%3.%4/16":       "not a device name",
		"sidus.identity=host":               "not one of hostname, hosts",
		"sidus.identity=-hosts,nvme":        "not both",
		"sidus.identity=":                   "not one of hostname",
		"sidus.rw=tempfs":                   `sidus.rw="tempfs": not known; allowed is tmpfs, iscsi, LABEL=`,
		"sidus.rw":                          `sidus.rw="": not known`,
		"sidus.rw=LABEL=":                   "there is no value after LABEL=",
		"sidus.rw=LABEL=%x":                 `"%x" is not known`,
		"sidus.rw=/dev/../etc":              "not a plain path",
		"sidus.rw=/dev/":                    "not a plain path",
		"sidus.rw.size=0":                   "less than 1m",
		"sidus.rw.size=2":                   "less than 1m",
		"sidus.rw.size=0%":                  "not from 1% to 100%",
		"sidus.rw.size=101%":                "not from 1% to 100%",
		"sidus.rw.size=+5%":                 "not from 1% to 100%",
		"sidus.rw.size=2gb":                 "not a size",
		"sidus.rw.size=2gg":                 "not a size",
		"sidus.rw.size=-2g":                 "not a size",
		"sidus.rw.size=9999999999999999g":   "not a size",
		"sidus.rw.size=99999999999t":        "not a size",
		"sidus.rw.fallback=disk":            "allowed is none or tmpfs, for example sidus.rw.fallback=tmpfs",
		"sidus.mkfs=always":                 "allowed is never or blank",
		"sidus.rw.takeover=all":             "allowed is 0xKEY",
		"sidus.rw.adopt=":                   "allowed is UUID or LABEL",
		"sidus.rw.takeover=0x0":             "not a key",
		"sidus.rw.mismatch=delete":          "allowed is keep, archive, reset or stop",
		"sidus.rw.reset":                    "it needs a token: the layer is emptied once for each token",
		"sidus.rw.reset=a/b":                "not a token",
		"sidus.rw.reset=" + longToken:       "not a token",
		"sidus.usr=nfs":                     "allowed is union or direct",
		"sidus.union=unionfs":               "allowed is auto, aufs or overlay",
		"sidus.ro.strict=yes":               "allowed is 0 or 1",
		"sidus.version=../x":                "an ID has 1 to 64 letters",
		"sidus.hostname=a/b":                "not a host name",
		"sidus.hostname=%q":                 `"%q" is not known`,
		"sidus.hostname=node-%m":            "%m has colons",
		"ip=dhcp:":                          `"dhcp" is a method`,
		"ip=eth0,eth1:dhcp":                 "not a device name",
		"init=rescue":                       "does not begin with /",
		"ip=dhpc":                           `ip="dhpc": "dhpc" is not a method`,
		"sidus.iscsi.portal=:3260":          "not a host name",
		"sidus.iscsi.portal=10.0.0.1:70000": "not a port",
		"iscsi_target_port=x":               "not a port",
		"sidus.iscsi.target=disk1":          "not an iSCSI name",
		"sidus.iscsi.initiator=iqn.x:%z":    `"%z" is not known`,
		"sidus.iscsi.lun=16384":             "not a LUN",
		"sidus.iscsi.chap=sha256,sha512":    `"sha512" is not an algorithm; allowed is md5, sha1`,
		"sidus.iscsi.chap=md5,md5":          "md5 is given twice",
	} {
		t.Run(in, func(t *testing.T) {
			_, err := Parse(in, "")
			var parameter *ParameterError
			if !errors.As(err, &parameter) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "for example") {
				t.Errorf("Parse(%q): %v; want a ParameterError with %q and an example", in, err, want)
			}
		})
	}
}

// With an error the rest is known all the same, and every error is told.
func TestParseUsableWithErrors(t *testing.T) {
	c, err := Parse("sidus.rw=x sidus.union=y sidus.onerror=reboot panic=5", "nfsroot=oops")
	if c.OnError != Reboot || c.Panic == nil || *c.Panic != 5 || c.RW.Kind != "tmpfs" || c.Timeout == 0 {
		t.Errorf("Parse = %+v", c)
	}
	if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 3 {
		t.Errorf("%d errors, want 3: %v", n, err)
	}
}

func TestParseNotes(t *testing.T) {
	for in, want := range map[string]string{
		"sidus.rw.siez=2g":            "did you mean sidus.rw.size?",
		"sidus.nonsense=1":            `"sidus.nonsense" is not a parameter of sidusboot and is ignored`,
		"sidus.iscsi.pasword=geheim":  "did you mean sidus.iscsi.password?",
		"sidius.rw=iscsi":             "did you mean sidus.rw?",
		"sidus.onerror=rebot":         "sidus.onerror=\"rebot\" is ignored: not known; allowed is retry, reboot, poweroff or shell",
		"sidus.timeout=0":             "5 to 3600",
		"sidus.events=../x":           "not the name of a tty",
		"panic=soon":                  "not a number",
		"BOOTIF=eth0":                 "not a MAC address",
		"ip=10.0.0.7:":                "/8 is used",
		"ip=":                         "DHCP is used",
		"nfsroot=/srv,rw":             "always mounted read-only",
		"nfsroot=/srv,noatime":        "noatime dropped",
		"root=/dev/sda1 nfsroot=/srv": "root=\"/dev/sda1\" is ignored",
		"iscsi_auto":                  `"iscsi_auto" is ignored`,
		"ip=10.0.0.7:::24:::dhcp":     "the server chooses the address",
	} {
		t.Run(in, func(t *testing.T) {
			c, err := Parse(in, "")
			if got := strings.Join(c.Notes, "\n"); err != nil || !strings.Contains(got, want) {
				t.Errorf("Parse(%q) notes %q, %v, want %q", in, got, err, want)
			}
		})
	}
	for _, in := range []string{"ro quiet rw console=ttyS0 BOOT_IMAGE=/vmlinuz initrd=sidus.img root=/dev/nfs ip=dhcp loglevel=3 nfs.nfs4_disable_idmapping=0"} {
		t.Run(in, func(t *testing.T) {
			if c, err := Parse(in, ""); err != nil || len(c.Notes) > 0 {
				t.Errorf("Parse(%q): notes %q, %v, want none", in, c.Notes, err)
			}
		})
	}
}

func TestConsumed(t *testing.T) {
	c, _ := Parse("ip=dhcp nfsroot=/a BOOTIF=x Iscsi_Password=p iscsi_whatever=1 nfsaddrs=off sidus.typo=1 other=1 a.b=c", "")
	var got []string
	for name := range c.Consumed {
		got = append(got, name)
	}
	slices.Sort(got)
	want := []string{"BOOTIF", "Iscsi_Password", "ip", "iscsi_whatever", "nfsaddrs", "nfsroot", "sidus.typo"}
	if !slices.Equal(got, want) {
		t.Errorf("Consumed = %q, want %q", got, want)
	}
}

// Whatever is printed of a Config, the secrets stay out.
func TestSecretsStayOut(t *testing.T) {
	c, err := Parse("sidus.iscsi.password=geheim1 ISCSI_IN_PASSWORD=geheim2 sidus.iscsi.pasword=geheim3 iscsi_passwd=geheim4 sidus.rw=x", "")
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprint(c.ISCSI), err.Error()} {
		t.Run(text, func(t *testing.T) {
			if strings.Contains(text, "geheim") {
				t.Errorf("a secret in %s", text)
			}
		})
	}
}

func TestStrings(t *testing.T) {
	for _, tt := range []struct {
		got  fmt.Stringer
		want string
	}{
		{Retry, "retry"}, {Reboot, "reboot"}, {PowerOff, "poweroff"}, {Shell, "shell"}, {OnError(9), "unknown"},
		{OwnerResident, "resident"}, {OwnerTree, "tree"},
		{UnionAuto, "auto"}, {UnionAufs, "aufs"}, {UnionOverlay, "overlay"},
		{MethodDHCP, "dhcp"}, {MethodStatic, "static"}, {MethodOff, "off"},
	} {
		t.Run(fmt.Sprint(tt.got), func(t *testing.T) {
			if tt.got.String() != tt.want {
				t.Errorf("%#v.String() = %q, want %q", tt.got, tt.got.String(), tt.want)
			}
		})
	}
}
