package nfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A fakeSystem answers by version and records what it was asked.
type fakeSystem struct {
	mu       sync.Mutex
	mount    map[string]error // by version, as in vers=
	load     map[string]error
	verify   func(version string) error
	dial     func() error
	server   fakeServer
	hang     bool
	version  string // mounted now
	asked    []string
	data     []string // of the mounts
	ports    []uint16 // that were connected to
	loaded   []string
	released chan struct{}
}

func (f *fakeSystem) Mount(_, _, _ string, _ uintptr, data string) error {
	version, _, _ := strings.Cut(strings.TrimPrefix(data, "vers="), ",")
	f.mu.Lock()
	f.asked = append(f.asked, version)
	f.data = append(f.data, data)
	f.mu.Unlock()
	if f.hang {
		<-f.released
	}
	if err := f.mount[version]; err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version = version
	return nil
}
func (f *fakeSystem) Unmount(string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.version == "" {
		return unix.EINVAL // Nothing is mounted.
	}
	f.version = ""
	return nil
}
func (f *fakeSystem) Load(module string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loaded = append(f.loaded, module)
	return f.load[module]
}
func (f *fakeSystem) Verify(string) error {
	if f.verify == nil {
		return nil
	}
	f.mu.Lock()
	version := f.version
	f.mu.Unlock()
	return f.verify(version)
}
func (f *fakeSystem) Connect(_ context.Context, network string, to netip.AddrPort) (Conn, error) {
	f.mu.Lock()
	f.ports = append(f.ports, to.Port())
	f.mu.Unlock()
	if f.dial != nil {
		if err := f.dial(); err != nil {
			return nil, err
		}
	}
	return f.server.connect(network, to.Port()), nil
}

var source = Source{
	Server: "10.0.0.1", Addr: netip.MustParseAddr("10.0.0.1"), Path: "/srv/tree",
	Client: netip.MustParseAddr("10.0.0.9"),
}

func all(err error) map[string]error {
	return map[string]error{"4.2": err, "4.1": err, "4.0": err, "3": err}
}

func TestMountVersions(t *testing.T) {
	tests := []struct {
		name    string
		version string
		fake    fakeSystem
		want    string
		asked   string
		err     string
	}{
		{name: "best first", want: "4.2", asked: "4.2"},
		{name: "asked for", version: "3", want: "3", asked: "3"},
		{name: "only version 3 served", want: "3", asked: "4.2 4.1 4.0 3",
			fake: fakeSystem{mount: map[string]error{"4.2": unix.EPROTONOSUPPORT, "4.1": unix.EPROTONOSUPPORT, "4.0": unix.EPROTONOSUPPORT}}},
		{name: "mounted but unreadable", want: "4.1", asked: "4.2 4.1",
			fake: fakeSystem{verify: func(v string) error {
				if v == "4.2" {
					return unix.EIO
				}
				return nil
			}}},
		{name: "asked for and unreadable", version: "4.2", asked: "4.2", err: "mounted, but input/output error",
			fake: fakeSystem{verify: func(string) error { return unix.EIO }}},
		{name: "no module for 4", want: "3", asked: "3",
			fake: fakeSystem{load: map[string]error{"nfsv4": errors.New("nfsv4 is not in this image")}}},
		{name: "no module asked for", version: "4.1", err: "nfsv4 is not in this image",
			fake: fakeSystem{load: map[string]error{"nfsv4": errors.New("nfsv4 is not in this image")}}},
		{name: "refused: minor versions are asked once", asked: "4.2 3", err: "does not export this path to 10.0.0.9",
			fake: fakeSystem{mount: all(unix.EACCES)}},
		{name: "refused by 3 only tells more than not found", asked: "4.2 3", err: "does not export this path",
			fake: fakeSystem{mount: map[string]error{"4.2": unix.ENOENT, "3": unix.EACCES}}},
		{name: "wrong path", asked: "4.2 3", err: "the server has no such path",
			fake: fakeSystem{mount: all(unix.ENOENT)}},
		{name: "version 4 path wrong, 3 right", want: "3", asked: "4.2 3",
			fake: fakeSystem{mount: map[string]error{"4.2": unix.ENOENT}}},
		{name: "owners only right in version 3", want: "3", asked: "4.2 3",
			fake: fakeSystem{verify: func(v string) error {
				if v != "3" {
					return fmt.Errorf("/sbin/init belongs to 4294967294: %w", ErrOwner)
				}
				return nil
			}}},
		{name: "owners wrong and no version 3: better than nothing", want: "4.2", asked: "4.2 3 4.2",
			fake: fakeSystem{mount: map[string]error{"3": unix.EPROTONOSUPPORT},
				verify: func(string) error { return ErrOwner }}},
		{name: "owners wrong in the version asked for", version: "4.1", want: "4.1", asked: "4.1 4.1",
			fake: fakeSystem{verify: func(string) error { return ErrOwner }}},
		{name: "no init in the tree: no other version has one", asked: "4.2", err: "the tree has none",
			fake: fakeSystem{verify: func(string) error { return fmt.Errorf("the tree has none of: %w", fs.ErrNotExist) }}},
		{name: "every kind of failure leads to the next", want: "4.0", asked: "4.2 4.1 4.0",
			fake: fakeSystem{mount: map[string]error{"4.2": unix.EREMOTEIO, "4.1": unix.ECONNREFUSED}}},
		{name: "every kind of failure in the tree leads to the next", want: "4.0", asked: "4.2 4.1 4.0",
			fake: fakeSystem{verify: func(v string) error {
				return map[string]error{"4.2": unix.EREMOTEIO, "4.1": errors.New("got nothing but zeros")}[v]
			}}},
		{name: "no module nfs", asked: "4.2", err: "the kernel has no NFS",
			fake: fakeSystem{mount: all(unix.ENODEV)}},
		{name: "version 3 is served", want: "3", asked: "3", fake: fakeSystem{server: threeServer}},
		{name: "version 3 is served and fails", want: "4.2", asked: "3 4.2",
			fake: fakeSystem{server: threeServer, mount: map[string]error{"3": unix.EIO}}},
		{name: "version 3 is served and not asked for", version: "4", want: "4.2", asked: "4.2", fake: fakeSystem{server: threeServer}},
		{name: "time-outs of the kernel", asked: "4.2 4.1 4.0 3", err: "no answer",
			fake: fakeSystem{mount: all(unix.ETIMEDOUT)}},
		{name: "unknown version", version: "5", err: "choose one of 3, 4"},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			src := source
			src.Version = tt.version
			m := Mounter{System: &tt.fake, Logf: t.Logf}
			got, err := m.Mount(t.Context(), src, "/ro")
			if got != tt.want {
				t.Errorf("Mount = %q, %v, want %q", got, err, tt.want)
			}
			if asked := strings.Join(tt.fake.asked, " "); asked != tt.asked {
				t.Errorf("asked for versions %q, want %q", asked, tt.asked)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
			if tt.err != "" && tt.fake.version != "" {
				t.Errorf("version %s is still mounted after an error", tt.fake.version)
			}
		})
	}
}

// A server that connects and stays silent: the wait ends with its deadline,
// and the next attempt does not start a second mount beside the first.
func TestMountHangs(t *testing.T) {
	fake := &fakeSystem{hang: true, released: make(chan struct{})}
	m := Mounter{System: fake, Logf: t.Logf}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := m.Mount(ctx, source, "/ro")
	if !errors.Is(err, unix.ETIMEDOUT) {
		t.Fatalf("Mount = %v, want a time-out", err)
	}
	// By version 3 it is mountd that is asked.
	if three := (&MountError{Source: source, Version: "3", Err: errSilent}).Error(); !strings.Contains(three, "vers=4.2") || strings.Contains(err.Error(), "mountd") {
		t.Errorf("%v, and by version 3 %s", err, three)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.Mount(ctx, source, "/ro"); !errors.Is(err, unix.ETIMEDOUT) {
		t.Fatalf("Mount while the first hangs = %v, want a time-out", err)
	}
	fake.mu.Lock()
	if !slices.Equal(fake.asked, []string{"4.2"}) {
		t.Errorf("asked %v, want one mount call only", fake.asked)
	}
	fake.mu.Unlock()
	close(fake.released)
	if version, err := m.Mount(t.Context(), source, "/ro"); err != nil || version != "4.2" {
		t.Fatalf("last Mount = %q, %v", version, err)
	}
}

// A mount that succeeds while the caller cleans up is not in the next one's way.
func TestMountComesLate(t *testing.T) {
	fake := &fakeSystem{hang: true, released: make(chan struct{})}
	m := Mounter{System: fake, Logf: t.Logf}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.Mount(ctx, source, "/ro"); !errors.Is(err, unix.ETIMEDOUT) {
		t.Fatalf("Mount = %v, want a time-out", err)
	}
	close(fake.released)
	for fake.Unmount("/ro") != nil { // As the caller does after a failure.
		time.Sleep(time.Millisecond)
	}
	if version, err := m.Mount(t.Context(), source, "/ro"); err != nil || version != "4.2" {
		t.Errorf("the next Mount = %q, %v", version, err)
	}
}

// A server that dies while the init program is read does not hold the boot
// beyond its deadline.
func TestVerifyHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	fake := &fakeSystem{verify: func(string) error { <-release; return nil }}
	m := Mounter{System: fake, Logf: t.Logf}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := m.Mount(ctx, source, "/ro")
	if !errors.Is(err, unix.ETIMEDOUT) || !strings.Contains(err.Error(), "stopped answering") {
		t.Errorf("Mount = %v, want a time-out that says what was going on", err)
	}
}

// A server that comes up later is waited for.
func TestAwaitServer(t *testing.T) {
	calls := 0
	fake := &fakeSystem{dial: func() error {
		if calls++; calls < 3 {
			return unix.ECONNREFUSED
		}
		return nil
	}}
	m := Mounter{System: fake, Logf: t.Logf}
	source := source
	source.Version = "3" // No server is asked which ones there are.
	if _, err := m.Mount(t.Context(), source, "/ro"); err != nil || calls != 3 {
		t.Errorf("Mount = %v after %d connections, want success after 3", err, calls)
	}
	fake.dial = func() error { return unix.ECONNREFUSED }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := m.Mount(ctx, source, "/ro")
	if err == nil || !strings.Contains(err.Error(), "is the NFS server running?") {
		t.Errorf("Mount = %v, want a hint that nothing listens", err)
	}
}

func TestData(t *testing.T) {
	six := source
	six.Addr = netip.MustParseAddr("fd00::1")
	ports := source
	ports.Options = []string{"mountport=20048"}
	own := source
	own.Options = []string{"port=20490", "nconnect=4"}
	tests := []struct {
		name, version string
		src           Source
		want          string
	}{
		{"3", "3", source, "vers=3,proto=tcp,hard,timeo=600,retrans=2,nolock,mountproto=tcp,mountvers=3,mountaddr=10.0.0.1,addr=10.0.0.1"},
		{"4.2", "4.2", source, "vers=4.2,proto=tcp,hard,timeo=600,retrans=2,port=2049,clientaddr=10.0.0.9,addr=10.0.0.1"},
		{"own options last", "4.1", own, "vers=4.1,proto=tcp,hard,timeo=600,retrans=2,clientaddr=10.0.0.9,addr=10.0.0.1,port=20490,nconnect=4"},
		{"no portmapper", "3", ports, "vers=3,proto=tcp,hard,timeo=600,retrans=2,nolock,mountproto=tcp,mountvers=3,mountaddr=10.0.0.1,port=2049,addr=10.0.0.1,mountport=20048"},
		{"IPv6", "3", six, "vers=3,proto=tcp6,hard,timeo=600,retrans=2,nolock,mountproto=tcp6,mountvers=3,mountaddr=fd00::1,addr=fd00::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.src.Data(tt.version); got != tt.want {
				t.Errorf("Data(%s) =\n%s, want\n%s", tt.version, got, tt.want)
			}
		})
	}
	if got, want := six.String(), "[fd00::1]:/srv/tree"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
}
