package sidusnode

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nodefiles"
)

func TestRecipe(t *testing.T) {
	want := &Recipe{
		Options: "vers=3,addr=10.0.0.1", Init: "/sbin/a \"b\"\n", Size: "50%", UsrDirect: true,
		Files: nodefiles.Node{
			Machine: "m", Initiator: "iqn.x", Omit: map[string]bool{"hosts": true}, NoFail: true, TreeOwnsLeases: true, Init: "/sbin/a \"b\"\n",
			Untouched: []string{"ib0"},
			Leases: []*network.Lease{
				{Device: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Addr: netip.MustParsePrefix("10.0.0.7/24"), Hostname: "n", Domain: "d.example",
					DNS: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}, Search: []string{"a", "b c\n"}},
				{Device: "eth1", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, Addr: netip.MustParsePrefix("fd00::7/64")},
			},
		},
	}
	got, err := parseRecipe(want.String())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"", "size \"1", "lease \"device\"\n", `lease "mac \"x\"\n"` + "\n", "omit"} {
		if r, err := parseRecipe(text); err == nil {
			t.Errorf("%q: no error: %+v", text, r)
		}
	}
}

func TestChoose(t *testing.T) {
	able := target{id: "b", boots: "b", systemd: 257, rw: "tmpfs", release: "6.1"}
	with := func(change func(t *target)) target {
		t := able
		change(&t)
		return t
	}
	old := with(func(t *target) { t.systemd = 252 })
	volume := with(func(t *target) { t.rw = "iscsi" })
	kernel := with(func(t *target) { t.stays = "another kernel" })
	foreign := with(func(t *target) { t.newInit = "not systemd" })
	noImage := with(func(t *target) { t.systemd, t.release = 252, "" })
	locked := with(func(t *target) { t.stays, t.noKexec = "another kernel", "kexec is off" })
	other := with(func(t *target) { t.systemd = 0 })
	to := with(func(t *target) { t.boots = "c" })
	stuck := with(func(t *target) { t.boots, t.systemd = "c", 0 })
	for name, c := range map[string]struct {
		t         target
		asked     string
		way, text string
	}{
		"cheapest":        {able, "", soft, "same kernel and image"},
		"as requested":    {able, reboot, reboot, "as requested"},
		"old systemd":     {old, "", kexec, "systemd is version 252"},
		"volume":          {volume, "", kexec, "/rw is a volume"},
		"kernel":          {kernel, "", kexec, "another kernel"},
		"another init":    {foreign, "", kexec, "not systemd"},
		"no image":        {noImage, "", reboot, "no kexec: the version has no /boot/initrd-sidus-RELEASE"},
		"no kexec":        {locked, "", reboot, "kexec is off"},
		"not systemd":     {other, "", reboot, "the init program is not systemd"},
		"another version": {to, "", soft, ""},
		"soft refused":    {old, soft, "", "soft-reboot needs 254 or later; nothing was changed"},
		"kexec refused":   {noImage, kexec, "", "cannot update by kexec: the version has no"},
		"reboot refused":  {to, reboot, "", "would boot version c, not b"},
		"no way":          {stuck, "", "", "no reboot: a reboot would boot version c"},
	} {
		way, why, err := c.t.choose(c.asked)
		if err != nil {
			why = err.Error()
		}
		if way != c.way || (err == nil) != (c.way != "") || !strings.Contains(why, c.text) {
			t.Errorf("%s: got %q, %q, want %q with %q", name, way, why, c.way, c.text)
		}
	}
}

func TestParseUpdate(t *testing.T) {
	for text, want := range map[string]updateCall{
		"": {}, "--soft": {way: soft}, "--to a --kexec": {kexec, "a"}, "--reboot --to=b": {reboot, "b"},
	} {
		if got, err := parseUpdate(strings.Fields(text)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"--soft --kexec", "--to", "--to ../a", "--to=a/b", "a", "--hard", "--to=..", "--to=", "--soft --to=", "--to=none --to="} {
		if got, err := parseUpdate(strings.Fields(text)); err == nil {
			t.Errorf("%q: no error: %+v", text, got)
		}
	}
}

func TestParseSystemd(t *testing.T) {
	for text, want := range map[string]int{
		"257.8-1~deb13u2": 257, "252.39-1~deb12u1": 252, "256~rc3": 256, "254-rc1": 254, "255": 255, "v256": 0, "": 0, ".": 0, "x": 0,
	} {
		if got := parseSystemd(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

// The version that runs is the one that is mounted.
func TestSeeVersion(t *testing.T) {
	for source, want := range map[string]string{
		"10.0.0.1:/srv/b\\040c/versions/v2": "v2", "10.0.0.1:/srv/b\\040c/versions/../x": "v1", "10.0.0.1:/other/versions/v2": "v1", "": "v1",
	} {
		n := node{Facts: Facts{Version: "v1", Base: "10.0.0.1:/srv/b c"}}
		n.layers = findLayers(nil)
		n.layers[1].Source = source
		n.seeVersion()
		if n.Version != want || n.booted != "v1" {
			t.Errorf("%q: version %q after %q, want %q", source, n.Version, n.booted, want)
		}
	}
}

// An update that was ordered keeps another one away until the node runs another
// version, for a while.
func TestOrdered(t *testing.T) {
	const hour = time.Hour
	text := order("v1", hour)
	for _, test := range []struct {
		text, version string
		now           time.Duration
		want          bool
	}{
		{text, "v1", hour, true},
		{text, "v1", hour + orderTime - 1, true},
		{text, "v1", hour + orderTime, false},
		{text, "v2", hour, false},
		{"", "v1", 1, false},
		{"from v1", "v1", 1, false},
	} {
		if got := ordered(test.text, test.version, test.now); got != test.want {
			t.Errorf("%q, version %s, %v: got %t", test.text, test.version, test.now, got)
		}
	}
}
