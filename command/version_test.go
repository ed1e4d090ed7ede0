package command

import (
	"runtime/debug"
	"testing"
)

func TestDescribeBuild(t *testing.T) {
	released := &debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}}
	for want, b := range map[string]struct {
		version string
		info    *debug.BuildInfo
	}{
		"initrdgen v1.2.3 go1.26":   {"", released},
		"initrdgen v2-dirty go1.26": {"v2-dirty", released},
		"initrdgen (devel) abc+dirty go1.26": {"", &debug.BuildInfo{GoVersion: "go1.26", Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}},
	} {
		t.Run(want, func(t *testing.T) {
			if got := describeBuild("initrdgen", b.version, b.info); got != want {
				t.Errorf("describeBuild = %q, want %q", got, want)
			}
		})
	}
}
