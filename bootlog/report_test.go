package bootlog

import (
	"encoding/json"
	"strings"
	"testing"
)

// The report is JSON, whatever a server put into it.
func TestReportJSON(t *testing.T) {
	r := &Report{
		Version: "v1", Kernel: "6.1", Attempts: 2, Init: "/sbin/init",
		Network:  Network{Device: "eth0", Hostname: "a\"b\\c\n\x01é\xff", DNS: []string{"10.0.0.1", "10.0.0.2"}, Lease: 120},
		Root:     Root{Source: "10.0.0.1:/srv", Version: "4.2", Writable: true},
		RW:       RW{Kind: "iscsi", Device: "/dev/sda", FileSystem: "ext4", UUID: "u", Made: true},
		ISCSI:    &ISCSI{Target: "iqn.x", LUN: 1, Portals: []string{"10.0.0.1:3260"}},
		Stages:   []Stage{{"network", 1.25, 0.5, 2}, {"nfs", 2, 0.125, 1}},
		Devices:  []string{"virtio:d00000001v00001AF4"},
		Failures: History{first: []string{"nfs: no answer"}},
	}
	var got struct {
		Attempts int
		Network  struct {
			Hostname string
			DNS      []string
			Lease    int `json:"lease_seconds"`
		}
		Root struct {
			Version  string `json:"nfs_version"`
			Writable bool
		}
		RW struct {
			Kind, Filesystem string
			Made             bool
		}
		ISCSI struct {
			LUN     int
			Portals []string
		}
		Stages []struct {
			Name        string
			Start, Took float64
			Tries       int
		}
		Modules, Devices, Failures []string
	}
	if err := json.Unmarshal([]byte(r.json()), &got); err != nil {
		t.Fatalf("%v in\n%s", err, r.json())
	}
	if got.Attempts != 2 || got.Network.Hostname != "a\"b\\c\n\x01é\ufffd" || len(got.Network.DNS) != 2 || got.Network.Lease != 120 ||
		got.Root.Version != "4.2" || !got.Root.Writable || got.RW.Kind != "iscsi" || !got.RW.Made || got.ISCSI.LUN != 1 ||
		len(got.Stages) != 2 || got.Stages[0].Start != 1.25 || got.Stages[0].Tries != 2 || got.Modules == nil || len(got.Devices) != 1 || len(got.Failures) != 1 {
		t.Errorf("got %+v of\n%s", got, r.json())
	}
	if err := json.Unmarshal([]byte((&Report{}).json()), &got); err != nil || strings.Contains((&Report{}).json(), "null") {
		t.Errorf("the empty report: %v, %s", err, (&Report{}).json())
	}
}
