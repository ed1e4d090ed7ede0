//go:build qemu

package qemutests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestServers starts, stops and starts again what guests are served by.
func TestServers(t *testing.T) {
	t.Parallel()
	lab := newLab(t, LabOptions{})
	ctx := t.Context()
	dir := t.TempDir()
	options := NFSOptions{Exports: []Export{{Path: dir, Pseudo: "/top", Versions: []int{3, 4}}}}
	server, err := lab.StartNFS(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	out, err := lab.Output(ctx, "rpcinfo", "-p", ServerAddr)
	if err != nil || !strings.Contains(out, "mountd") || !strings.Contains(out, "2049  nfs") {
		t.Errorf("rpcinfo: %v: got %s, want mountd and nfs", err, out)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := lab.listening(NFSPort)(ctx); err == nil {
		t.Error("the NFS port is open after Stop")
	}
	if server, err = lab.StartNFS(ctx, options); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}

	_, err = lab.StartDHCP(ctx, DHCPOptions{Names: map[string]string{"files.sidus.test": "10.77.0.9"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = lab.Start(ctx, Program{Name: "false", Argv: []string{"sh", "-c", "echo no luck; exit 3"}, Ready: lab.listening(1)})
	if err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("a server that ends at once: got %v, want an error with its log", err)
	}
	// A second lab does not disturb the first.
	other := newLab(t, LabOptions{})
	if _, err := other.StartNFS(ctx, options); err != nil {
		t.Error(err)
	}
}

// TestPanic boots a kernel without a root: it panics. Waits end at once, and
// panic= makes it reboot.
func TestPanic(t *testing.T) {
	t.Parallel()
	lab := newLab(t, LabOptions{})
	ctx := t.Context()
	tree, err := Tree(ctx, Suites[0])
	if err != nil {
		t.Fatal(err)
	}
	kernel, _, err := Kernel(tree)
	if err != nil {
		t.Fatal(err)
	}
	guest, err := lab.Boot(ctx, GuestOptions{Kernel: kernel, Memory: 512})
	if err != nil {
		t.Fatal(err)
	}
	_, err = guest.Expect(ctx, "login:")
	if !errors.Is(err, ErrPanic) || !strings.Contains(fmt.Sprint(err), "Unable to mount root") {
		t.Errorf("Expect in a panicking guest = %v, want ErrPanic and the console", err)
	}
	if _, err := guest.WaitStage(ctx, "network", Done); !errors.Is(err, ErrPanic) {
		t.Errorf("WaitStage in a panicking guest = %v, want ErrPanic", err)
	}
	if _, _, err := guest.Run(ctx, "true"); !errors.Is(err, ErrPanic) {
		t.Errorf("Run in a panicking guest = %v, want ErrPanic", err)
	}
	if exit, err := guest.Wait(ctx); !errors.Is(err, ErrPanic) || exit.Reason != Panicked {
		t.Errorf("Wait for a panicking guest = %+v, %v, want ErrPanic", exit, err)
	}
	guest.Kill()

	options := GuestOptions{Kernel: kernel, Memory: 512, Cmdline: "panic=1", PanicOK: true, Reboot: true}
	if guest, err = lab.Boot(ctx, options); err != nil {
		t.Fatal(err)
	}
	first, err := guest.Expect(ctx, "Rebooting")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guest.ExpectAfter(ctx, first.End, "Linux version"); err != nil {
		t.Error(err)
	}
	guest.Kill()

	options.Reboot = false
	if guest, err = lab.Boot(ctx, options); err != nil {
		t.Fatal(err)
	}
	if exit, err := guest.Wait(ctx); err != nil || exit.Reason != Rebooted {
		t.Errorf("Wait = %+v, %v, want %s", exit, err, Rebooted)
	}
}

// TestNothingIsLeft kills a process that holds a lab: what the lab ran ends.
func TestNothingIsLeft(t *testing.T) {
	const inside = "SIDUSBOOT_TEST_HOLD"
	if os.Getenv(inside) != "" {
		lab := NewLab(t, LabOptions{Logf: func(string, ...any) {}})
		server, err := lab.StartPortmapper(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("held", lab.ns.pid, server.cmd.Process.Pid)
		select {} // killed from outside
	}
	t.Parallel()
	Require(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingIsLeft$")
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var pids [2]int
	lines := bufio.NewScanner(out)
	for pids[0] == 0 && lines.Scan() {
		fmt.Sscanf(lines.Text(), "held %d %d", &pids[0], &pids[1])
	}
	if pids[0] == 0 {
		t.Fatal("the process with the lab said nothing")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		gone := func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/%d/root/run/lab", pid))
			return err != nil
		}
		for start := time.Now(); !gone(); time.Sleep(20 * time.Millisecond) {
			if time.Since(start) > defaultPatience {
				t.Fatalf("process %d of the lab outlives its holder", pid)
			}
		}
	}
}

// TestReserveMore reserves more places than the machine has: it gets all of them, and
// nobody else gets one meanwhile.
func TestReserveMore(t *testing.T) {
	t.Setenv("SIDUSBOOT_CACHE", t.TempDir())
	t.Setenv("SIDUSBOOT_GUESTS", "2")
	lab := newLab(t, LabOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := lab.Reserve(ctx, 3); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := lab.place(ctx); err != nil {
			t.Error(err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := newLab(t, LabOptions{}).place(short); err == nil {
		t.Error("another lab got a place, too")
	}
}
