package source

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/nfs"
)

// fakeServers are NFS servers by address, and what each does: "up", "down",
// "silent", which accepts and does not answer, or "refuses", which refuses mounts.
type fakeServers struct {
	mu      sync.Mutex
	state   map[string]string
	mounted string
	asked   []string
}

func (f *fakeServers) set(addr, state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state[addr] = state
}

func (f *fakeServers) get(addr string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state[addr]
}

func (f *fakeServers) Mount(device, _, _ string, _ uintptr, _ string) error {
	addr, _, _ := strings.Cut(device, ":")
	if f.get(addr) == "refuses" {
		return unix.EACCES
	}
	f.mounted = device
	return nil
}
func (*fakeServers) Unmount(string) error { return nil }
func (*fakeServers) Load(string) error    { return nil }
func (*fakeServers) Verify(string) error  { return nil }

func (f *fakeServers) Connect(_ context.Context, _ string, address netip.AddrPort) (nfs.Conn, error) {
	f.mu.Lock()
	f.asked = append(f.asked, address.Addr().String())
	f.mu.Unlock()
	state := f.get(address.Addr().String())
	if state == "down" {
		return nil, unix.ECONNREFUSED
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		call := make([]byte, 44)
		if _, err := io.ReadFull(theirs, call); err != nil {
			return
		}
		if state == "silent" {
			_, _ = theirs.Read(call) // Until the caller gives up.
			return
		}
		// A reply of 24 bytes: this version is not served (RFC 5531, section 9).
		reply := binary.BigEndian.AppendUint32(nil, 1<<31|24)
		reply = append(reply, call[4:8]...)
		for _, n := range []uint32{1, 0, 0, 0, 2} {
			reply = binary.BigEndian.AppendUint32(reply, n)
		}
		_, _ = theirs.Write(reply)
	}()
	return ours, nil
}

// Of several servers the next one is tried when one is down, silent, or refuses.
func TestMount(t *testing.T) {
	for name, tt := range map[string]struct {
		states  []string // of 10.0.0.1, 10.0.0.2, …
		later   time.Duration
		back    string // is up then
		mounted string
		atMost  time.Duration
		err     string
	}{
		"the first is up":           {states: []string{"up", "down"}, mounted: "10.0.0.1"},
		"the first is down":         {states: []string{"down", "up"}, mounted: "10.0.0.2"},
		"the first is silent":       {states: []string{"silent", "up"}, mounted: "10.0.0.2", atMost: 4 * time.Second},
		"the first refuses":         {states: []string{"refuses", "up"}, mounted: "10.0.0.2"},
		"two are down":              {states: []string{"down", "down", "up"}, mounted: "10.0.0.3"},
		"both are down, one back":   {states: []string{"down", "down"}, later: 20 * time.Second, back: "10.0.0.2", mounted: "10.0.0.2", atMost: 23 * time.Second},
		"silent and down, one back": {states: []string{"silent", "down"}, later: 30 * time.Second, back: "10.0.0.1", mounted: "10.0.0.1", atMost: 40 * time.Second},
		"all refuse":                {states: []string{"refuses", "refuses"}, err: "10.0.0.2:/srv"},
		"none is there":             {states: []string{"down", "silent"}, atMost: 65 * time.Second, err: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := &fakeServers{state: map[string]string{}}
				var sources []Source
				for i, state := range tt.states {
					addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
					fake.state[addr.String()] = state
					sources = append(sources, Source{Source: nfs.Source{Server: addr.String(), Addr: addr, Path: "/srv", Version: "4.2"}})
				}
				if tt.back != "" {
					time.AfterFunc(tt.later, func() { fake.set(tt.back, "up") })
				}
				m := &Mounter{NFS: &nfs.Mounter{System: fake, Logf: t.Logf}, WaitFor: func(string) {}, Logf: t.Logf, Note: func(text string) { t.Log(text) }}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				root, err := m.Mount(ctx, sources)
				took := time.Since(start)
				if tt.err != "" {
					if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "10.0.0.1") {
						t.Errorf("error %v, want one about each server with %q", err, tt.err)
					}
				} else if err != nil || !strings.HasPrefix(fake.mounted, tt.mounted+":") || root.Addr.String() != tt.mounted {
					t.Errorf("mounted %s, source %s, %v, want %s", fake.mounted, root, err, tt.mounted)
				}
				limit := tt.atMost
				if limit == 0 {
					limit = time.Second
				}
				if took > limit {
					t.Errorf("it took %v, want at most %v", took, limit)
				}
				time.Sleep(10 * time.Second) // What still waits ends.
			})
		})
	}
}

// The order is spread over the nodes within each of DNS's priorities.
func TestSpread(t *testing.T) {
	all := []Source{{Origin: "a", Priority: 10, Weight: 1}, {Origin: "b", Priority: 10, Weight: 1}, {Origin: "c", Priority: 10, Weight: 1}, {Origin: "spare", Priority: 20, Weight: 1}}
	names := func(s []Source) string {
		var text []string
		for _, x := range s {
			text = append(text, x.Origin)
		}
		return strings.Join(text, " ")
	}
	first := map[string]int{}
	for node := range uint32(100) {
		order := inOrder(all, node)
		if order[3].Origin != "spare" || !slices.ContainsFunc(order, func(s Source) bool { return s.Origin == "a" }) {
			t.Fatalf("node %d: %s", node, names(order))
		}
		first[order[0].Origin]++
	}
	for _, name := range []string{"a", "b", "c"} {
		t.Run(name, func(t *testing.T) {
			if first[name] < 27 || first[name] > 40 {
				t.Errorf("%d of 100 nodes begin with %s", first[name], name)
			}
		})
	}
}
