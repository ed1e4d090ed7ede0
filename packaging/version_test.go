package main

import (
	"os/exec"
	"testing"
	"time"
)

var commit = time.Date(2026, 11, 26, 16, 44, 39, 0, time.UTC)

func TestDebianVersion(t *testing.T) {
	for _, tt := range []struct{ describe, want string }{
		{"c8d2c35", "0~20261126.164439.c8d2c35-1"},
		{"c8d2c35-dirty", "0~20261126.164439.c8d2c35+dirty-1"},
		{"4801936", "0~20261126.164439.4801936-1"},
		{"v1.2.3", "1.2.3-1"},
		{"1.2.3", "1.2.3-1"},
		{"v1.2.3-14-gc8d2c35", "1.2.3+14.c8d2c35-1"},
		{"v1.2-rc1", "1.2~rc1-1"},
		{"v1.2-rc.1-3-gc8d2c35-dirty", "1.2~rc1+3.c8d2c35+dirty-1"},
		{"", ""},
		{"unknown", ""},
		{"v1.2 3", ""},
		{"v1.2/../x", ""},
		{"release-1", ""},
	} {
		t.Run(tt.describe, func(t *testing.T) {
			got, err := debianVersion(tt.describe, commit)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("debianVersion(%q) = %q, %v, want %q", tt.describe, got, err, tt.want)
			}
		})
	}
}

// TestVersionOrder asks dpkg whether later commits and releases are newer.
func TestVersionOrder(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip(err)
	}
	order := []struct {
		describe string
		commit   time.Time
	}{
		{"ffffff0", commit}, {"aaaaaa0", commit.Add(time.Second)}, {"aaaaaa0-dirty", commit.Add(time.Second)},
		{"v0.1-rc1", commit}, {"v0.1-rc2", commit}, {"v0.1-rc2-3-gaaaaaa0", commit}, {"v0.1", commit},
		{"v0.1-2-gffffff0", commit}, {"v0.1-10-gaaaaaa0", commit}, {"v0.1.1", commit}, {"v0.2", commit}, {"v0.10", commit},
	}
	for i := 1; i < len(order); i++ {
		older, err := debianVersion(order[i-1].describe, order[i-1].commit)
		if err != nil {
			t.Fatal(err)
		}
		newer, err := debianVersion(order[i].describe, order[i].commit)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("dpkg", "--compare-versions", older, "lt", newer).CombinedOutput(); err != nil {
			t.Errorf("%s is not older than %s: %v %s", older, newer, err, out)
		}
	}
}
