package nfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A fakeServer answers calls by port and program; the answer is what follows the
// verifier. It says nothing to what it does not know, and no to all when it is
// nil.
type fakeServer map[fakeCall][]byte

type fakeCall struct {
	network string
	port    uint16
	call    call
}

func (s fakeServer) connect(network string, port uint16) Conn {
	ours, theirs := net.Pipe()
	go func() {
		for {
			b, err := readRecordOf(theirs, network)
			if err != nil || len(b) < 24 {
				return
			}
			d := decoder{b: b}
			xid := d.uint()
			d.uint()
			d.uint()
			answer, ok := s[fakeCall{network, port, call{d.uint(), d.uint(), d.uint()}}]
			switch {
			case s == nil:
				answer = mismatch
			case !ok:
				return // After which the pipe stays open at our end.
			}
			message := words(xid, 1, 0, 0, 0)
			message = append(message, answer...)
			if network == "tcp" {
				message = append(words(rpcLast|uint32(len(message))), message...)
			}
			if _, err := theirs.Write(message); err != nil {
				return
			}
		}
	}()
	return ours
}

func readRecordOf(c net.Conn, network string) ([]byte, error) {
	if network == "tcp" {
		return readRecord(c)
	}
	b := make([]byte, 2048)
	n, err := c.Read(b)
	return b[:n], err
}

func words(all ...uint32) (b []byte) {
	for _, n := range all {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

var (
	getPort  = fakeCall{"tcp", portmapPort, call{programPortmap, 2, portmap2GetPort}}
	getAddr  = fakeCall{"tcp", portmapPort, call{programPortmap, 3, rpcb3GetAddr}}
	mountd   = fakeCall{"tcp", 20048, call{programMount, 3, 0}}
	nfs3     = fakeCall{"tcp", 2049, call{programNFS, 3, 0}}
	mismatch = words(2, 4, 4)
	// threeServer serves version 3.
	threeServer = fakeServer{getPort: words(0, 20048), mountd: words(0), nfs3: words(0)}
)

func with(s fakeServer, c fakeCall, answer []byte) fakeServer {
	changed := fakeServer{c: answer}
	for k, v := range s {
		if k != c {
			changed[k] = v
		}
	}
	return changed
}

func without(s fakeServer, c fakeCall) fakeServer {
	changed := with(s, c, nil)
	delete(changed, c)
	return changed
}

func TestServes3(t *testing.T) {
	six := source
	six.Addr = netip.MustParseAddr("fd00::1")
	options := func(o ...string) Source {
		src := source
		src.Options = o
		return src
	}
	other := fakeServer{{"tcp", 999, mountd.call}: words(0), {"tcp", 20490, nfs3.call}: words(0)}
	tests := []struct {
		name   string
		src    Source
		server fakeServer
		want   bool
		within time.Duration
		loaded bool // nfsv4, while the answer is late
	}{
		{"served", source, threeServer, true, probeTimeout / 2, false},
		{"no mountd", source, with(threeServer, getPort, words(0, 0)), false, probeTimeout / 2, false},
		{"no such program at the portmapper", source, with(threeServer, getPort, mismatch), false, probeTimeout / 2, false},
		{"mountd without version 3", source, with(threeServer, mountd, mismatch), false, probeTimeout / 2, false},
		{"NFS without version 3", source, with(threeServer, nfs3, mismatch), false, probeTimeout / 2, false},
		{"a portmapper behind a firewall", source, without(threeServer, getPort), false, 2 * probeTimeout, true},
		{"mountd behind a firewall", source, without(threeServer, mountd), false, 2 * probeTimeout, true},
		{"ports given", options("mountport=999", "port=20490"), other, true, probeTimeout / 2, false},
		{"the last port given counts", options("mountport=1", "mountport=999", "port=20490"), other, true, probeTimeout / 2, false},
		{"mountd by UDP", options("mountproto=udp", "mountport=999"),
			fakeServer{{"udp", 999, mountd.call}: words(0), nfs3: words(0)}, true, probeTimeout / 2, false},
		{"udp", options("udp"), nil, true, probeTimeout / 2, false},
		{"RDMA asks mountd only", options("rdma", "port=20049"), without(threeServer, nfs3), true, probeTimeout / 2, false},
		{"IPv6", six, fakeServer{getAddr: append(words(0), appendString(nil, "::.78.80")...), mountd: words(0), nfs3: words(0)}, true, probeTimeout / 2, false},
		{"IPv6 without mountd", six, fakeServer{getAddr: append(words(0), appendString(nil, "")...)}, false, probeTimeout / 2, false},
		{"nonsense", source, fakeServer{getPort: []byte{0, 0, 0}}, false, probeTimeout / 2, false},
		{"mountport=x", options("mountport=x"), threeServer, false, probeTimeout / 2, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fake := &fakeSystem{server: tt.server}
			m := Mounter{System: fake, Logf: t.Logf}
			start := time.Now()
			conn, err := m.awaitServer(t.Context(), tt.src)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.serves3(t.Context(), tt.src, conn); got != tt.want {
				t.Errorf("serves3 = %v, want %v", got, tt.want)
			}
			if took := time.Since(start); took > tt.within {
				t.Errorf("took %v, want at most %v", took, tt.within)
			}
			fake.mu.Lock()
			defer fake.mu.Unlock()
			if loaded := slices.Contains(fake.loaded, "nfsv4"); loaded != tt.loaded {
				t.Errorf("loaded %q meanwhile", fake.loaded)
			}
		})
	}
}

// A connection without an answer: the question ends after its second.
func TestServes3Dropped(t *testing.T) {
	fake := &fakeSystem{dial: func() error { time.Sleep(time.Hour); return nil }}
	m := Mounter{System: fake, Logf: t.Logf}
	start := time.Now()
	if m.serves3(t.Context(), source, nil) || time.Since(start) > probeTimeout*3/2 {
		t.Errorf("took %v", time.Since(start))
	}
}

// What the server has said once it is not asked again: a mount, the question whether
// it is writable and that for nested file systems need the portmapper once, and NFS
// is asked on the connection by which the server was waited for.
func TestAskedOnce(t *testing.T) {
	exports := fakeCall{"tcp", 20048, call{programMount, 3, mount3Export}}
	mount := func(src Source, server fakeServer) *fakeSystem {
		t.Helper()
		fake := &fakeSystem{server: server}
		m := Mounter{System: fake, Logf: t.Logf}
		for range 2 { // A base, and the version in it.
			fake.ports, fake.data = nil, nil
			version, err := m.Mount(t.Context(), src, "/ro")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Writable(t.Context(), src, version, t.TempDir()); err != nil {
				t.Fatal(err)
			}
			m.Nested(t.Context(), src, version, "")
		}
		return fake
	}
	fake := mount(source, with(threeServer, exports, words(0, 0)))
	if want := []uint16{2049, portmapPort, 20048, 20048}; !slices.Equal(fake.ports, want) {
		t.Errorf("connected to %d, want %d", fake.ports, want)
	}
	for _, data := range fake.data {
		if !strings.Contains(data, ",mountport=20048") || !strings.Contains(data, ",port=2049") {
			t.Errorf("mounted with %q", data)
		}
	}
	// What the operator says counts; and where version 3 was not asked for, nothing is known.
	own := source
	own.Options = []string{"mountport=999", "port=20490"}
	fake = mount(own, fakeServer{{"tcp", 999, mountd.call}: words(0), {"tcp", 20490, nfs3.call}: words(0), {"tcp", 999, exports.call}: words(0, 0)})
	if data := fake.data[0]; strings.Count(data, "port=") != 2 || !strings.HasSuffix(data, "mountport=999,port=20490") {
		t.Errorf("mounted with %q", data)
	}
	own = source
	own.Version = "3"
	fake = mount(own, with(threeServer, exports, words(0, 0)))
	if data := fake.data[0]; strings.Contains(data, "port=") {
		t.Errorf("mounted with %q", data)
	}
}

func TestParseExports(t *testing.T) {
	one := func(path string, groups ...string) []byte {
		b := appendString(words(1), path)
		for _, g := range groups {
			b = appendString(append(b, words(1)...), g)
		}
		return append(b, words(0)...)
	}
	b := slices.Concat(one("/srv/tree", "10.0.0.0/24", "x"), one("/srv/tree/usr/"), one("/srv/tree2"), one("/srv"), words(0))
	paths, err := parseExports(b)
	if err != nil || strings.Join(paths, " ") != "/srv/tree /srv/tree/usr /srv/tree2 /srv" {
		t.Errorf("parseExports = %q, %v", paths, err)
	}
	if got := below("/srv/tree", paths); !slices.Equal(got, []string{"/usr"}) {
		t.Errorf("below = %q", got)
	}
	if got := below("/", []string{"/", "/usr"}); !slices.Equal(got, []string{"/usr"}) {
		t.Errorf("below / = %q", got)
	}
	if _, err := parseExports(b[:len(b)-4]); !errors.Is(err, errRPC) {
		t.Errorf("a list without an end: %v", err)
	}
}

func TestReadRecord(t *testing.T) {
	got, err := readRecord(bytes.NewReader(slices.Concat(words(2), []byte("ab"), words(rpcLast|3), []byte("cde"))))
	if err != nil || string(got) != "abcde" {
		t.Errorf("two fragments: %q, %v", got, err)
	}
	for _, b := range [][]byte{words(rpcLast | (maxReply + 1)), words(0, 0), words(rpcLast | 4), {1}} {
		t.Run(fmt.Sprint(b), func(t *testing.T) {
			if _, err := readRecord(bytes.NewReader(b)); err == nil {
				t.Errorf("readRecord of %x: no error", b)
			}
		})
	}
}

func FuzzReply(f *testing.F) {
	f.Add(slices.Concat(words(rpcLast|24, 7, 1, 0, 0, 0, 0), appendString(words(1), "/srv"), words(0, 0)))
	f.Add(slices.Concat(words(rpcLast|32, 7, 1, 0, 0, 0, 0), appendString(nil, "::.78.80")))
	f.Fuzz(func(_ *testing.T, b []byte) {
		record, err := readRecord(bytes.NewReader(b))
		if err != nil {
			return
		}
		result, err := parseReply(record, 7)
		if err != nil {
			return
		}
		_, _ = parseExports(result)
		d := decoder{b: result}
		_, _ = universalPort(string(d.bytes()))
	})
}

func TestTransport(t *testing.T) {
	for options, want := range map[string]uint16{
		"": 2049, "udp": 0, "proto=udp": 0, "rdma": 0, "proto=rdma": 0, "proto=tcp6": 2049, "udp,tcp": 2049,
		"proto=udp6": 0, "port=1,port=20490": 20490, "tcp,udp": 0,
	} {
		t.Run(options, func(t *testing.T) {
			src := source
			src.Options = strings.Split(options, ",")
			if got, err := src.Port(); got != want || err != nil {
				t.Errorf("Port = %d, %v, want %d", got, err, want)
			}
		})
	}
}

// Of what mountd exports below the tree only what shows nothing counts.
func TestNestedByMountd(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"/usr/local", "/opt/full"} {
		if err := os.MkdirAll(dir+name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/opt/full/x", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var list []byte
	for _, p := range []string{"/srv/tree", "/srv/tree/usr/local", "/srv/tree/opt/full", "/srv/tree/not/there"} {
		list = append(appendString(append(list, words(1)...), p), words(0)...)
	}
	server := with(threeServer, fakeCall{"tcp", 20048, call{programMount, 3, mount3Export}}, slices.Concat(words(0), list, words(0)))
	m := Mounter{System: &fakeSystem{server: server}, Logf: t.Logf}
	if got := m.Nested(t.Context(), source, "3", dir); !slices.Equal(got, []string{"/usr/local"}) {
		t.Errorf("Nested = %q", got)
	}
	if got := m.Nested(t.Context(), source, "3", ""); len(got) != 3 {
		t.Errorf("Nested of a tree that is not mounted = %q", got)
	}
	if got := m.Nested(t.Context(), source, "4.1", dir); len(got) != 0 {
		t.Errorf("Nested of version 4 = %q", got)
	}
}
