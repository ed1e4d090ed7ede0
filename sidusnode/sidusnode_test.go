package sidusnode

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/mounts"
)

// TestMain is also the process that probes and hangs.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "hang" {
		fmt.Print(line("stale", "/a"), line(saidDoing, probeBase))
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

// A probe that hangs is ended, and what it wrote before counts.
func TestHangs(t *testing.T) {
	said, err := runChild(2*time.Second, []string{Name, "hang"})
	if !errors.Is(err, errSilent) {
		t.Fatal(err)
	}
	r, err := parseRecord(said)
	if err != nil {
		t.Fatal(err)
	}
	if f := found(r); f.silent != probeBase || f.get("stale") != "/a" {
		t.Errorf("said %q, found %+v", said, f)
	}
}

func TestFacts(t *testing.T) {
	want := Facts{
		Product: "v1", Source: "10.0.0.1:/srv/a \"b\"\n", NFS: "3", Version: "v", Pinned: true, Base: "b", Data: "vers=3,actimeo=0",
		Union: "overlay", RW: "iscsi", Device: "/dev/sda", Target: "iqn.x", Session: "session1", Follow: "idle", Slot: 1<<32 - 1, Spread: time.Hour,
	}
	got, err := ParseFacts(want.String())
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"source\n", " \"a\"\n", "source \"a\n"} {
		t.Run(text, func(t *testing.T) {
			if _, err := ParseFacts(text); err == nil {
				t.Errorf("%q: no error", text)
			}
		})
	}
	// What is not there is empty, also a line that was not written to its end.
	if got, err := ParseFacts("version \"a\"\nversion \"b\"\nslot \"x\"\nsource \"half"); err != nil || got != (Facts{Version: "b"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// at is the heal of a plain tree, one probe after the other.
func at(h *heal, now time.Duration, stamp string) string {
	a := h.next(now, stamp, 10*time.Second, time.Minute)
	text := ""
	if a.forget {
		text = "forget"
	}
	if a.names {
		text += " names"
	}
	return text
}

func TestHeal(t *testing.T) {
	var h heal
	for _, step := range []struct {
		now   time.Duration
		stamp string
		want  string
	}{
		{10 * time.Second, "", ""},     // The probe failed.
		{60 * time.Second, "none", ""}, // The first one is that of the boot.
		{120 * time.Second, "none", ""},
		{180 * time.Second, "1", ""}, // This node's turn comes later.
		{200 * time.Second, "1", "forget"},
		{320 * time.Second, "1", ""}, // Attributes may still be old.
		{326 * time.Second, "", "forget names"},
		{400 * time.Second, "1", ""},
		{460 * time.Second, "2", ""},
		{520 * time.Second, "2", "forget"},
		{530 * time.Second, "3", ""}, // Changed again: all starts again.
		{541 * time.Second, "3", "forget"},
		{600 * time.Second, "3", ""},
		{666 * time.Second, "3", "forget names"},
	} {
		if got := at(&h, step.now, step.stamp); got != step.want {
			t.Fatalf("at %v with stamp %q: %q, want %q", step.now, step.stamp, got, step.want)
		}
		// Each probe is a process of its own.
		r, err := parseRecord(h.record().String())
		if again := parseHeal(r); err != nil || !reflect.DeepEqual(again, h) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	}
	// While something is stale it is looked at each time: its program may end.
	h.stale = []string{"/lib/ld.so"}
	if got := at(&h, 700*time.Second, "3"); got != " names" {
		t.Errorf("with a stale name: %q", got)
	}
}

func TestDelay(t *testing.T) {
	if got := delay(1<<32-1, 0); got != 0 {
		t.Errorf("without a spread: %v", got)
	}
	var slots [4]int
	for i := range uint32(1000) {
		d := delay(i*2654435761, time.Minute)
		if d < 0 || d >= time.Minute {
			t.Fatalf("slot %d: %v", i, d)
		}
		slots[d/(15*time.Second)]++
	}
	for i, n := range slots {
		if n < 200 || n > 300 {
			t.Errorf("%d of 1000 nodes in quarter %d", n, i)
		}
	}
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		node   node
		status int
		text   string
	}{
		"plain":   {node{}, statusCurrent, ""},
		"current": {node{Facts: Facts{Version: "a"}, current: "a"}, statusCurrent, ""},
		"unknown": {node{Facts: Facts{Version: "a"}}, statusCurrent, ""},
		"waiting": {node{Facts: Facts{Version: "a"}, current: "b"}, statusWaiting, "version b is current, this node runs a"},
		"pinned":  {node{Facts: Facts{Version: "a", Pinned: true}, current: "b"}, statusCurrent, ""},
		"stale":   {node{Facts: Facts{Version: "a"}, current: "b", heal: heal{stale: []string{"/lib/ld.so"}}}, statusStale, "/lib/ld.so is stale"},
		"changed": {node{now: time.Minute, heal: heal{due: 90 * time.Second}}, statusStale, "file names again in 30 s"},
		"bound":   {node{leases: []lease{{length: time.Hour, rebind: 50 * time.Minute, age: 49 * time.Minute}}}, statusCurrent, ""},
		"rebind":  {node{leases: []lease{{addr: "10.0.0.7", device: "eth0", length: time.Hour, rebind: 50 * time.Minute, age: 51 * time.Minute}}}, statusFailed, "10.0.0.7 on eth0 is not renewed: it expires in 9 min 0 s"},
		"expired": {node{leases: []lease{{length: time.Hour, rebind: 50 * time.Minute, age: 61 * time.Minute}}}, statusFailed, "expired 1 min 0 s ago"},
		"lun":     {node{session: loggedIn}, statusCurrent, ""},
		"broken":  {node{Facts: Facts{Target: "iqn.x"}, session: "FAILED"}, statusFailed, "the session with iqn.x is FAILED"},
		"silent":  {node{Facts: Facts{Version: "a"}, current: "b", found: finding{silent: "files of the tree"}}, statusFailed, "no answer about files of the tree"},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(&c.node)
			if v.status != c.status || !strings.Contains(strings.Join(v.findings, "\n"), c.text) || c.text == "" && len(v.findings) != 0 {
				t.Errorf("%s: %+v, want %d with %q", name, v, c.status, c.text)
			}
		})
	}
}

func TestFound(t *testing.T) {
	r, err := parseRecord("doing \"files\"\nstale \"/a\"\nstale \"/b c\"\ndoing \"how full /rw is\"\nfailure \"x\"\nus")
	if err != nil {
		t.Fatal(err)
	}
	if f := found(r); f.silent != "how full /rw is" || len(f.all("stale")) != 2 || len(f.failures) != 1 {
		t.Errorf("%+v", f)
	}
	if f := found(append(r, pair{saidEnd, ""})); f.silent != "" {
		t.Errorf("%+v", f)
	}
	if f := found(nil); f.silent == "" {
		t.Error("a child that says nothing is not silent")
	}
}

func TestMatter(t *testing.T) {
	const maps = `5581a8bd1000-5581a8bd8000 r--p 00000000 00:1d 1234 /usr/lib/systemd/systemd
7f0000000000-7f0000001000 r--p 00000000 00:1d 12 /usr/lib/x86_64-linux-gnu/libc.so.6 (deleted)
7f0000001000-7f0000002000 r-xp 00001000 00:1d 12 /usr/lib/x86_64-linux-gnu/libc.so.6 (deleted)
7f0000002000-7f0000003000 r--p 00000000 00:1d 13 /usr/lib/x86_64-linux-gnu/libcap.so.2.66
7f0000003000-7f0000004000 r--p 00000000 00:1d 14 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0  [stack]
`
	want := []string{
		"/etc/ld.so.cache", "/etc/passwd", "/sbin/init", "/usr/lib/systemd/systemd", "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
		"/usr/lib/x86_64-linux-gnu/libc.so.6", "/var/lib/dpkg/status",
	}
	if got := essentialFiles(maps); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLayers(t *testing.T) {
	const mountinfo = `1 1 0:2 / / rw - rootfs rootfs rw
30 1 0:27 / / rw,relatime - overlay /rw rw,lowerdir=/ro,upperdir=/rw/upper
31 30 0:26 / /ro ro,relatime shared:3 - nfs 10.77.0.1:/srv/root ro,vers=3,acregmax=90,acdirmax=120
32 30 0:25 / /rw rw - tmpfs tmpfs rw
33 30 0:24 / /run rw - tmpfs tmpfs rw
broken
`
	got := findLayers(mounts.Parse(strings.NewReader(mountinfo)))
	if len(got) != 3 || got[0].Type != "overlay" || got[1].Source != "10.77.0.1:/srv/root" || got[2].Dir != "/rw" {
		t.Errorf("%+v", got)
	}
	if d := attributes(got); d != 2*time.Minute {
		t.Errorf("attributes are kept for %v", d)
	}
	if d := attributes(nil); d != time.Minute {
		t.Errorf("without acregmax= attributes are kept for %v", d)
	}
}

func TestJSON(t *testing.T) {
	n := &node{
		Facts: Facts{Product: "v1", Source: "s\"\x01\xff\u00e9", Version: "a", Session: "session1", RW: "iscsi"}, kernel: "6.1", now: 90 * time.Second,
		leases: []lease{{device: "eth0", addr: "10.0.0.7", length: time.Hour, rebind: time.Hour, age: time.Minute},
			{device: "eth1", addr: "10.0.0.8", length: time.Hour, rebind: time.Hour, age: time.Minute}},
		found: finding{record: record{{"total", "104857600"}, {"used", "7340032"}}}, current: "b", session: "FAILED",
	}
	n.layers = findLayers(nil)
	v := judge(n)
	var got struct {
		Uptime         int `json:"uptime_seconds"`
		Check          int
		Tree, Version  string
		Current        string
		Lease, Finding []string
		Ends           []int  `json:"lease_ends_seconds"`
		Session        string `json:"lun_session"`
		Used           int    `json:"rw_used_bytes"`
	}
	text := n.view(v).json()
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if got.Uptime != 90 || got.Check != statusFailed || got.Tree != "s\"\x01\ufffd\u00e9" || got.Version != "a" || got.Current != "b" ||
		!reflect.DeepEqual(got.Lease, []string{"10.0.0.7 eth0 bound", "10.0.0.8 eth1 bound"}) || !reflect.DeepEqual(got.Ends, []int{3540, 3540}) ||
		got.Session != "FAILED" || got.Used != 7<<20 || len(got.Finding) != 2 {
		t.Errorf("got %+v of\n%s", got, text)
	}
	for _, want := range []string{"version      a\n", "current ago  1 min 30 s\n", "lun session  FAILED\n", "rw used      7 MiB\n", "check        3\n"} {
		t.Run(want, func(t *testing.T) {
			if text := n.view(v).text(); !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		})
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 59999 * time.Millisecond: "59 s", time.Hour - time.Second: "59 min 59 s", 25 * time.Hour: "1 d 1 h", 90 * time.Minute: "1 h 30 min",
	} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			if got := short(d); got != want {
				t.Errorf("%v: %q, want %q", d, got, want)
			}
		})
	}
}

func TestCalls(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"check", "-h"}} {
		var b strings.Builder
		if status, err := run(&b, args, "v1"); status != 0 || err != nil || !strings.Contains(b.String(), "Usage: sidusnode") {
			t.Errorf("%q: %d, %v", args, status, err)
		}
	}
	for _, args := range [][]string{nil, {"nonsense"}, {"check", "--json"}, {"status", "a", "b"}} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			var b strings.Builder
			if status, _ := run(&b, args, "v1"); status != statusUsage {
				t.Errorf("%q: %d", args, status)
			}
		})
	}
}
