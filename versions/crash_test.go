package versions

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/versions/layout"
)

var errEnded = errors.New("the program was ended here")

// endAt makes a disk that carries out n calls and no more, as if the program had
// been killed before the next one. It tells whether it came to that.
func endAt(n int) (*disk, func() bool) {
	calls := 0
	return &disk{before: func(string, string) error {
		if calls++; calls > n {
			return errEnded
		}
		return nil
	}}, func() bool { return calls > n }
}

// failAt makes a disk on which one call fails, and the program goes on.
func failAt(n int, err error) (*disk, func() bool) {
	calls := 0
	return &disk{before: func(call, _ string) error {
		calls++
		if calls == n+1 && call != "unlink" {
			return err
		}
		return nil
	}}, func() bool { return calls > n }
}

// TestEndedAnywhere ends every verb before each of its system calls that change
// something, and makes each of them fail because the disk is full. Whatever happens,
// current leads to a whole version, every version with a name is whole, and the
// next run works and leaves nothing of the ended one.
func TestEndedAnywhere(t *testing.T) {
	verbs := map[string]func(b *Base) error{
		"publish": func(b *Base) error {
			_, err := b.Publish(t.Context(), PublishOptions{ID: "c", Now: time.Now()})
			return err
		},
		"rollback": func(b *Base) error {
			_, _, err := b.Rollback("a")
			return err
		},
		"gc": func(b *Base) error {
			_, err := b.GC(GCOptions{Keep: 1})
			return err
		},
	}
	ways := map[string]func(int) (*disk, func() bool){
		"killed":    endAt,
		"disk full": func(n int) (*disk, func() bool) { return failAt(n, unix.ENOSPC) },
	}
	for verb, run := range verbs {
		for way, make := range ways {
			t.Run(verb+" "+way, func(t *testing.T) {
				t.Parallel()
				f := newBase(t)
				f.publish("a")
				a := describe(t, filepath.Join(f.path, layout.Dir, "a"))
				f.sh("echo two >staging/etc/file")
				f.publish("b")
				b := describe(t, filepath.Join(f.path, layout.Dir, "b"))
				f.sh("rm staging/etc/fifo; echo three >staging/etc/file")
				whole := map[string]map[string]string{"a": a, "b": b, "c": describe(t, filepath.Join(f.path, layout.Staging))}
				f.sh("cp -a --no-preserve=links . ../save")
				steps := 0
				for ; ; steps++ {
					disk, ended := make(steps)
					f.sh("rm -rf versions staging current .sidustree; cp -a --no-preserve=links ../save/. .")
					broken, err := open(f.path, disk)
					if err != nil {
						t.Fatal(err)
					}
					err = run(broken)
					broken.Close()
					if !ended() {
						if err != nil {
							t.Fatalf("after %d calls: %v", steps, err)
						}
						break
					}
					f.whole(whole, fmt.Sprintf("%s, %s before call %d", verb, way, steps+1))
					// The next run.
					again, err := Open(f.path)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := again.Publish(t.Context(), PublishOptions{ID: "n", Now: time.Now()}); err != nil {
						t.Fatalf("the run after call %d: %v", steps, err)
					}
					again.Close()
					if left := f.sh("find . -name '.new-*' -o -name '.gone-*' -o -name '.current-*'"); left != "" {
						t.Fatalf("the run after call %d left %s", steps, left)
					}
				}
				if steps < 3 {
					t.Errorf("only %d calls", steps)
				}
				t.Logf("%d calls", steps)
			})
		}
	}
}

// whole looks at a base as a node would that boots from it now.
func (f fixture) whole(want map[string]map[string]string, when string) {
	f.t.Helper()
	b, err := Open(f.path)
	if err != nil {
		f.t.Fatalf("%s: %v", when, err)
	}
	defer b.Close()
	current, err := b.Current()
	if err != nil || current == "" {
		f.t.Fatalf("%s: current is %q, %v", when, current, err)
	}
	for _, id := range strings.Fields(f.sh("ls versions")) {
		if diff := cmp.Diff(want[id], describe(f.t, filepath.Join(f.path, layout.Dir, id))); diff != "" {
			f.t.Fatalf("%s: version %s is not whole:\n%s", when, id, diff)
		}
	}
}
