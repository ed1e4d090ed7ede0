package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// ownCopyright is the file copyright of a package that has only what is in this
// repository.
func ownCopyright() (string, error) {
	own, err := os.ReadFile("LICENSE")
	if err != nil {
		return "", err
	}
	return "sidusboot, from https://github.com/sidusboot/sidusboot\n\n" + string(own), nil
}

// linkedCopyright is the file copyright of the programs: the licence of this
// repository, and those of Go and of each module that is linked into one of them.
func linkedCopyright(ctx context.Context, programs string) (string, error) {
	own, err := ownCopyright()
	if err != nil {
		return "", err
	}
	modules := map[string]string{}
	for _, program := range []string{"initrdgen", "sidustree", "init"} {
		info, err := buildinfo.ReadFile(filepath.Join(programs, program))
		if err != nil {
			return "", fmt.Errorf("%w: run make first", err)
		}
		for _, m := range info.Deps {
			modules[m.Path] = m.Version
		}
	}
	var b strings.Builder
	b.WriteString(own)
	b.WriteString("\nThe programs are linked statically with what follows.\n")
	goDir, err := output(ctx, "go", "env", "GOROOT")
	if err != nil {
		return "", err
	}
	if err := writeLicence(&b, "Go "+strings.TrimPrefix(runtime.Version(), "go"), goDir); err != nil {
		return "", err
	}
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		dir, err := output(ctx, "go", "list", "-m", "-f", "{{.Dir}}", path)
		if err != nil {
			return "", err
		}
		if err := writeLicence(&b, path+" "+modules[path], dir); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// apache is the text that Debian has once for all packages.
var apache = regexp.MustCompile(`(?s) *Apache License\s+Version 2\.0, January 2004.*?` +
	`(?:END OF TERMS AND CONDITIONS(?:\s+APPENDIX: How to apply.*?limitations under the License\.)?|additional liability\.\s*\z)`)

const commonApache = "Apache License, Version 2.0. On Debian systems its text is in\n/usr/share/common-licenses/Apache-2.0."

// writeLicence writes the licence that lies in the directory of a module.
func writeLicence(b *strings.Builder, name, dir string) error {
	for _, file := range []string{"LICENSE", "LICENSE.txt"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			continue
		}
		licence := strings.Trim(apache.ReplaceAllString(string(text), commonApache), "\n")
		fmt.Fprintf(b, "\n---- %s ----\n\n%s\n", name, licence)
		return nil
	}
	return fmt.Errorf("%s has no file LICENSE in %s: add its licence to packaging/copyright.go", name, dir)
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
