package nfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What goes wrong in use leads to the next version, in turn, and when there is
// none, to what went wrong.
func TestNextVersion(t *testing.T) {
	fake := &fakeSystem{server: threeServer, mount: map[string]error{"4.2": unix.EPROTONOSUPPORT}}
	m := Mounter{System: fake, Logf: t.Logf}
	version, err := m.Mount(t.Context(), source, "/ro")
	why := errors.New("open /aufs/etc: remote I/O error")
	for _, want := range []string{"4.1", "4.0"} {
		if err != nil {
			t.Fatal(err)
		}
		if version, err = m.NextVersion(t.Context(), source, version, "/ro", why); version != want {
			t.Errorf("NextVersion = %q, %v, want %s", version, err, want)
		}
	}
	if version, err = m.NextVersion(t.Context(), source, version, "/ro", why); !errors.Is(err, ErrNoOtherVersion) {
		t.Errorf("the last NextVersion = %q, %v", version, err)
	}
	if fake.version != "4.0" {
		t.Errorf("%q is mounted, want the last one", fake.version)
	}
	// Another attempt begins from the start.
	if version, err := m.Mount(t.Context(), source, "/ro"); version != "3" || err != nil {
		t.Errorf("the next Mount = %q, %v", version, err)
	}
}

func TestNextVersionOfOne(t *testing.T) {
	m := Mounter{System: &fakeSystem{}, Logf: t.Logf}
	src := source
	src.Version = "4.1"
	version, err := m.Mount(t.Context(), src, "/ro")
	if err != nil {
		t.Fatal(err)
	}
	if version, err = m.NextVersion(t.Context(), src, version, "/ro", unix.EREMOTEIO); !errors.Is(err, ErrNoOtherVersion) {
		t.Errorf("NextVersion = %q, %v", version, err)
	}
}

// A version that was silent comes last in the next attempt.
func TestSilentVersionComesLast(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	fake := &fakeSystem{server: threeServer, verify: func(v string) error {
		if v == "3" {
			<-release
		}
		return nil
	}}
	m := Mounter{System: fake, Logf: t.Logf}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if version, err := m.Mount(ctx, source, "/ro"); !errors.Is(err, unix.ETIMEDOUT) {
		t.Fatalf("Mount = %q, %v, want a time-out", version, err)
	}
	if version, err := m.Mount(t.Context(), source, "/ro"); version != "4.2" || err != nil {
		t.Errorf("the next Mount = %q, %v, want 4.2", version, err)
	}
}

// In a grace period the server answers and lets nothing be opened: it is waited
// for beyond the deadline, with version 4 only, and no longer than it answers.
func TestGracePeriod(t *testing.T) {
	nfs4 := fakeCall{"tcp", 2049, call{programNFS, 4, 0}}
	for _, tt := range []struct {
		name, version string
		server        fakeServer
		ok            bool
	}{
		{"alive", "4.1", fakeServer{nfs4: words(0)}, true},
		{"version 3 has none", "3", threeServer, false},
		{"a no is no answer", "4.1", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			end := make(chan struct{})
			finish := sync.OnceFunc(func() { close(end) })
			defer finish()
			said := make(chan string, 100)
			fake := &fakeSystem{server: tt.server, verify: func(string) error { <-end; return nil }}
			m := Mounter{System: fake, Logf: t.Logf, Waiting: func(what string) {
				said <- what
				finish()
			}}
			src := source
			src.Version = tt.version
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			version, err := m.Mount(ctx, src, "/ro")
			if ok := err == nil; ok != tt.ok {
				t.Fatalf("Mount = %q, %v", version, err)
			}
			if tt.ok && !strings.Contains(<-said, "grace period") {
				t.Error("it did not say what it waits for")
			}
			if !tt.ok && !errors.Is(err, unix.ETIMEDOUT) {
				t.Errorf("Mount = %v, want a time-out", err)
			}
		})
	}
}

func TestPanicIsAnError(t *testing.T) {
	fake := &fakeSystem{verify: func(string) error { panic("a damaged ELF header") }}
	m := Mounter{System: fake, Logf: t.Logf}
	if _, err := m.Mount(t.Context(), source, "/ro"); err == nil || !strings.Contains(err.Error(), "BUG in sidusboot") {
		t.Errorf("Mount = %v", err)
	}
}

// A server that fails between the mount and the question whether it is writable
// does not hold the boot, and the next question waits for the end of the first.
func TestWritableHangs(t *testing.T) {
	fake := &fakeSystem{hang: true, released: make(chan struct{})}
	m := Mounter{System: fake, Logf: t.Logf}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := m.Writable(ctx, source, "3", "/check"); !errors.Is(err, unix.ETIMEDOUT) {
			t.Errorf("Writable = %v, want a time-out", err)
		}
		cancel()
	}
	fake.mu.Lock()
	if len(fake.asked) != 1 {
		t.Errorf("%d mounts side by side, want one", len(fake.asked))
	}
	fake.mu.Unlock()
	close(fake.released)
	if writable, err := m.Writable(t.Context(), source, "3", t.TempDir()); err != nil || !writable {
		t.Errorf("at last Writable = %v, %v", writable, err)
	}
}

func TestSetIdentity(t *testing.T) {
	const parameter, identifier = "module/nfs/parameters/nfs4_unique_id", "fs/nfs/net/nfs_client/identifier"
	for _, tt := range []struct {
		name   string
		files  map[string]string
		want   map[string]string
		failed bool
	}{
		{"identifier", map[string]string{parameter: "\n", identifier: "(null)\n"}, map[string]string{parameter: "\n", identifier: "id-of-mine"}, false},
		{"an old kernel", map[string]string{parameter: "\n"}, map[string]string{parameter: "id-of-mine"}, false},
		{"the operator's own", map[string]string{parameter: "theirs\n", identifier: "(null)\n"}, map[string]string{identifier: "(null)\n"}, false},
		{"neither", nil, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sysfs := t.TempDir()
			for name, text := range tt.files {
				name = filepath.Join(sysfs, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			given, err := SetIdentity(sysfs, "id-of-mine")
			if (err != nil) != tt.failed || (given == "theirs") != (tt.name == "the operator's own") {
				t.Errorf("SetIdentity = %q, %v", given, err)
			}
			for name, want := range tt.want {
				// A file of sysfs takes what one write brings.
				if got, _ := os.ReadFile(filepath.Join(sysfs, name)); !strings.HasPrefix(string(got), want) {
					t.Errorf("%s holds %q, want %q", name, got, want)
				}
			}
		})
	}
}
