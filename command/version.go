package command

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// Version tells what a program was built from: version is what the Makefile calls
// the source, and empty where the Makefile did not build it.
func Version(program, version string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return describeBuild(program, version, info)
}

func describeBuild(program, version string, info *debug.BuildInfo) string {
	if version != "" {
		return strings.Join([]string{program, version, info.GoVersion}, " ")
	}
	words := []string{program, info.Main.Version}
	if info.Main.Version == "" {
		words[1] = "(devel)"
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	// A pseudo-version has the revision in it already.
	if rev := settings["vcs.revision"]; rev != "" && words[1] == "(devel)" {
		if settings["vcs.modified"] == "true" {
			rev += "+dirty"
		}
		words = append(words, rev)
	}
	return strings.Join(append(words, info.GoVersion), " ")
}
