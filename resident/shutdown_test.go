package resident

import (
	"os/exec"
	"testing"
	"time"
)

// Each of two processes would start the other again: both are stopped at once.
func TestStopAll(t *testing.T) {
	const first, second = "@sidusboot-test-first", "@sidusboot-test-second"
	script := "while :; do (exec -a " + second + " sleep 60); done"
	cmd := exec.Command("bash", "-c", script)
	cmd.Args[0] = first
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		pids, err := processes(second)
		if err != nil || time.Since(start) > 20*time.Second {
			t.Fatalf("%v, %v", pids, err)
		}
		if len(pids) == 1 {
			break
		}
	}
	// The first was not collected, which has no command line any more.
	if err := stopAll(second, first); err != nil {
		t.Error(err)
	}
	time.Sleep(100 * time.Millisecond)
	if pids, err := processes(first, second); len(pids) != 0 || err != nil {
		t.Errorf("processes %v are left, %v", pids, err)
	}
}
