package network

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// A bond of which an option is refused is taken away: the next attempt would
// find it and take it for a whole one.
func TestBondHalfMade(t *testing.T) {
	sysfs := t.TempDir()
	masters, dir := filepath.Join(sysfs, "class/net/bonding_masters"), filepath.Join(sysfs, "class/net/bond0/bonding")
	// A directory cannot be written, as the kernel refuses an option.
	if err := os.MkdirAll(filepath.Join(dir, "xmit_hash_policy"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{masters, filepath.Join(dir, "mode"), filepath.Join(dir, "miimon"), filepath.Join(dir, "updelay")} {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bond := Bond{Name: "bond0", Slaves: []string{"eth0"}, Options: []string{"updelay=200", "xmit_hash_policy=layer9", "mode=802.3ad"}}
	eth0 := &rtnetlink.Link{Name: "eth0", Index: 2}
	_, err := bond.build(sysfs, []*rtnetlink.Link{eth0})
	if err == nil || !strings.Contains(err.Error(), "option xmit_hash_policy=layer9") {
		t.Errorf("error %v", err)
	}
	if b, err := os.ReadFile(masters); err != nil || string(b) != "-bond0\n" {
		t.Errorf("bonding_masters was told %q, %v", b, err)
	}
}

// The kernel refuses updelay and downdelay before miimon, and most before mode.
func TestBondOrder(t *testing.T) {
	options := []string{"updelay=200", "miimon=50", "mode=1"}
	if got := strings.Join(inOptionOrder(options), " "); got != "mode=1 miimon=50 updelay=200" {
		t.Errorf("order %s", got)
	}
}

// Until the card that is to be eth0 is there, nothing is built on another one
// that has this name by chance.
func TestNamed(t *testing.T) {
	mac := func(last byte) []byte { return []byte{2, 0, 0, 0, 0, last} }
	u := &attempt{plan: Plan{Renames: []Rename{{Name: "eth0", MAC: mac(2)}}}}
	for _, test := range []struct {
		attrs rtnetlink.Link
		want  bool
	}{
		{rtnetlink.Link{Name: "eth0", HardwareAddr: mac(1)}, false},
		{rtnetlink.Link{Name: "eth0", HardwareAddr: mac(2)}, true},
		{rtnetlink.Link{Name: "eth1", HardwareAddr: mac(1)}, true},
		{rtnetlink.Link{Name: "sidusboot0", HardwareAddr: mac(1)}, false},
	} {
		t.Run(fmt.Sprint(test.attrs), func(t *testing.T) {
			if got := u.hasFinalName(&test.attrs); got != test.want {
				t.Errorf("named(%s %s) = %v", test.attrs.Name, test.attrs.HardwareAddr, got)
			}
		})
	}
}
