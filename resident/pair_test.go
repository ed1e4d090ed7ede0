package resident

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ends is a connection between two peers.
func ends(t *testing.T) (a, b *peer) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b = newPeer("a", os.NewFile(uintptr(fds[0]), "a")), newPeer("b", os.NewFile(uintptr(fds[1]), "b"))
	t.Cleanup(func() { a.conn.Close(); b.conn.Close() })
	return a, b
}

func TestPeer(t *testing.T) {
	a, b := ends(t)
	const state = "session \"1\"\nlease \"eth0\"\n"
	got := make(chan string, 1)
	go func() {
		s, err := b.receiveState()
		if err == nil {
			err = b.say(ready)
		}
		got <- s + errorText(err)
	}()
	if err := a.sendState(state); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != state {
		t.Errorf("the state became %q", s)
	}
	b.conn.Close()
	a.await()
	// One that ends before it is ready.
	a, b = ends(t)
	dies := b
	go func() {
		_, _ = dies.receiveState()
		dies.conn.Close()
	}()
	if err := a.sendState(state); err == nil || !strings.Contains(err.Error(), "ready") {
		t.Errorf("hand = %v", err)
	}
	// Half a state is none.
	a, b = ends(t)
	if _, err := a.conn.WriteString("session \"1\"\n"); err != nil {
		t.Fatal(err)
	}
	a.conn.Close()
	if s, err := b.receiveState(); err == nil {
		t.Errorf("half a state became %q", s)
	}
}

// A process that has ended and was not collected runs no program any more.
func TestDying(t *testing.T) {
	if dying(os.Getpid()) {
		t.Error("this test is dying")
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if dying(pid) {
		t.Error("a process that sleeps is dying")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); !dying(pid); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("a process that was killed is not dying")
		}
	}
	_ = cmd.Wait()
	if !dying(pid) {
		t.Error("a process that is no more is not dying")
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A peer is started again at once, and with pauses where it does not live long
// or cannot be started; that is told, but not each time.
func TestStarter(t *testing.T) {
	now := 10 * time.Second
	var pauses []time.Duration
	starts, failures := 0, 9
	var far *peer
	log := &recorder{}
	s := newStarter("@x", "state", log)
	s.now = func() time.Duration { return now }
	s.sleep = func(d time.Duration) {
		pauses = append(pauses, d)
		now += d
	}
	s.start = func(name, state string) (*peer, error) {
		starts++
		if failures > 0 {
			failures--
			return nil, errors.New("no memory")
		}
		near, other := ends(t)
		far = other
		return near, nil
	}
	near, first := ends(t)
	first.conn.Close()
	near = s.next(near)
	now += time.Hour // It has lived long.
	far.conn.Close()
	s.next(near)
	second := time.Second
	if want := []time.Duration{second, 2 * second, 4 * second, 8 * second, 16 * second, 32 * second, 60 * second, 60 * second, 60 * second}; starts != 11 || !slices.Equal(pauses, want) {
		t.Errorf("%d starts with pauses %v, want 11 with %v", starts, pauses, want)
	}
	said := log.text()
	if strings.Count(said, "CANNOT BE STARTED AGAIN") != 1 || strings.Count(said, "HAS ENDED") != 2 || strings.Count(said, "runs again") != 2 {
		t.Errorf("said:\n%s", said)
	}
}

func TestParseMapping(t *testing.T) {
	for line, want := range map[string]mapping{
		"00400000-00557000 r-xp 00000000 00:1c 12                                 /keeper": {0x400000, 0x157000, 0, false},
		"00781000-007b4000 rw-p 00380000 00:1c 12 /keeper":                                 {0x781000, 0x33000, 0x380000, true},
		"00781000-007b4000 rw-p 00000000 00:00 0 ":                                         {},
		"7ffd7a8f6000-7ffd7a8f8000 r-xp 00000000 00:00 0                          [vdso]":  {},
		"": {}, "x-y r-xp 0 0:1 5 /f": {}, "2-1 r-xp 0 0:1 5 /f": {},
	} {
		t.Run(line, func(t *testing.T) {
			if m, ok := parseMapping(line); ok != (want.size != 0) || ok && m != want {
				t.Errorf("%q: %+v, %v", line, m, ok)
			}
		})
	}
}

// A peer that was stopped goes on, and the lease that it has renewed is what the
// next one is given.
func TestStopped(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	if stopped(cmd.Process.Pid) {
		t.Error("a process that sleeps is stopped")
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); !stopped(cmd.Process.Pid); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			t.Fatal("a process that was stopped is not")
		}
	}
	near, far := ends(t)
	near.process = cmd.Process
	said := make(chan string, 1)
	near.logf = func(format string, args ...any) { said <- fmt.Sprintf(format, args...) }
	var learned []string
	near.learn = func(line string) { learned = append(learned, line) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		near.await()
	}()
	if err := far.say("lease a\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-said:
		if !strings.Contains(text, "stopped by a signal") || stopped(cmd.Process.Pid) {
			t.Errorf("said %q, stopped: %v", text, stopped(cmd.Process.Pid))
		}
	case <-time.After(2 * lookTime):
		t.Error("it is left as it is")
	}
	far.conn.Close()
	<-done
	if !slices.Equal(learned, []string{"lease a\n"}) {
		t.Errorf("learned %q", learned)
	}
}

// What a peer has told of its lease is handed to the one after it.
func TestStarterLearns(t *testing.T) {
	near, far := ends(t)
	const old, renewed = "lease \"eth0\" \"2\" \"m\" \"a\" \"0\"\n", "lease \"eth0\" \"2\" \"m\" \"a\" \"9\"\n"
	s := newStarter("@x", "session \"1\"\n"+old, testLog{t})
	handed := make(chan string, 1)
	s.start = func(_, state string) (*peer, error) {
		handed <- state
		next, _ := ends(t)
		return next, nil
	}
	if err := far.say(renewed); err != nil {
		t.Fatal(err)
	}
	far.conn.Close()
	s.next(near)
	if got := <-handed; got != "session \"1\"\n"+renewed {
		t.Errorf("handed over: %q", got)
	}
}
