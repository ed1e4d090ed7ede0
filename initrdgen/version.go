package main

import (
	"runtime/debug"
	"strings"
)

// version tells what this program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "initrdgen (no build information)"
	}
	return describeBuild(info)
}

func describeBuild(info *debug.BuildInfo) string {
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
