package qemutests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// BuildImage makes an initrd for a tree with this repository's own
// bin/initrdgen build, and further arguments for it. The same image is made
// once: it is kept in the cache under the programs, the arguments and the
// content of the files that they name.
func BuildImage(ctx context.Context, tree string, args ...string) (string, error) {
	bin, err := binDir()
	if err != nil {
		return "", err
	}
	key := []string{tree}
	programs, err := filepath.Glob(filepath.Join(bin, "init*")) // initrdgen, and each machine's init.
	if err != nil || len(programs) < 2 {
		return "", fmt.Errorf("no init and no initrdgen in %s: run make first", bin)
	}
	for _, program := range programs {
		b, err := os.ReadFile(program)
		if err != nil {
			return "", err
		}
		key = append(key, string(b))
	}
	for _, arg := range args {
		key = append(key, arg)
		_, value, _ := strings.Cut(arg, "=")
		for _, name := range []string{arg, value} {
			if b, err := os.ReadFile(name); err == nil {
				key = append(key, string(b))
			}
		}
	}
	return cached(ctx, "images", digest(key...)+".img", func(path string, _ *os.File) error {
		forgetOld(filepath.Dir(path))
		argv := append([]string{"build", "--root", tree, "--output", path}, args...)
		out, err := exec.CommandContext(ctx, filepath.Join(bin, "initrdgen"), argv...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("initrdgen %s: %w: %s", strings.Join(argv, " "), err, lastLines(string(out), 20))
		}
		return nil
	})
}

// forgetOld removes images of last week: every build of the programs makes new
// ones. Those that cannot be removed do no harm.
func forgetOld(dir string) {
	images, _ := filepath.Glob(filepath.Join(dir, "*.img"))
	for _, image := range images {
		if info, err := os.Stat(image); err == nil && time.Since(info.ModTime()) > 7*24*time.Hour {
			_ = os.Remove(image)
		}
	}
}

// binDir is bin/ of the repository that the working directory is in.
func binDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "bin"), nil
		}
		if dir == "/" {
			return "", errors.New("not inside the repository")
		}
	}
}
