package main

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/kmod"
	"github.com/sidusboot/sidusboot/overlay"
)

func TestRealEnv(t *testing.T) {
	env := []string{"HOME=/", "TERM=linux", "ISCSI_PASSWORD=secret", "ip=dhcp", "lang=fr=x", "BOOTIF=01-52"}
	got := strings.Join(realEnv(env, map[string]bool{"ISCSI_PASSWORD": true, "ip": true, "BOOTIF": true}), " ")
	if want := "HOME=/ TERM=linux lang=fr=x"; got != want {
		t.Errorf("realEnv = %q, want %q", got, want)
	}
}

func TestMendable(t *testing.T) {
	missing := &bootlog.StageError{Stage: "nfs", Err: fmt.Errorf("x: %w", &kmod.MissingError{Name: "nfsv3"})}
	for err, want := range map[error]bool{missing: false, &bootlog.StageError{Stage: "union", Err: overlay.ErrNone}: false, &bootlog.StageError{Stage: "nfs", Err: unix.ETIMEDOUT}: true} {
		t.Run(fmt.Sprint(err), func(t *testing.T) {
			if got := retryable(err); got != want {
				t.Errorf("retryable(%v) = %v, want %v", err, got, want)
			}
		})
	}
}

func TestRetryDelay(t *testing.T) {
	for attempt := 1; attempt < 100; attempt++ {
		for range 100 {
			if d := retryDelay(attempt); d < firstRetry/2 || d > 3*maxRetry/2 {
				t.Fatalf("retryDelay(%d) = %v", attempt, d)
			}
		}
	}
}
