package main

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// version is what the Makefile calls the source, by -X main.version.
var version string

// builtFrom tells what this program was built from.
func builtFrom() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return describeBuild(version, info)
}

func describeBuild(version string, info *debug.BuildInfo) string {
	if version != "" {
		return strings.Join([]string{"initrdgen", version, info.GoVersion}, " ")
	}
	words := []string{"initrdgen", info.Main.Version}
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
