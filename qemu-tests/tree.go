package qemutests

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed mktree
var mktree string

//go:embed mkvariant
var mkvariant string

//go:embed mkarm64
var mkarm64 string

// Suites are the Debian suites that trees are made of.
var Suites = []string{"bookworm", "trixie"}

// Tree returns the root tree of a Debian suite, made by mktree if the cache
// has none. It is shared and must not be written to; see Lab.CopyTree.
func Tree(ctx context.Context, suite string) (string, error) {
	name := suite + "-" + digest(mktree)
	return cached(ctx, "trees", name, func(dir string, held *os.File) error {
		return runScript(ctx, held, mktree, suite, dir)
	})
}

// ARM64Tree returns a small tree of a Debian suite for arm64, made by mkarm64 if the cache has
// none, which takes minutes. It is shared as a suite's own is.
func ARM64Tree(ctx context.Context, suite string) (string, error) {
	base, err := Tree(ctx, suite)
	if err != nil {
		return "", err
	}
	return cached(ctx, "arm64", suite+"-"+digest(base, mkarm64), func(dir string, held *os.File) error {
		return runScript(ctx, held, mkarm64, suite, base, dir)
	})
}

// A Variant is a tree of a suite with more in it.
type Variant struct {
	// Suite is the tree that it is made of.
	Suite string
	// Packages are installed in it.
	Packages []string
	// Script is run by sh in the tree when they are.
	Script string
}

// Tree returns the variant's tree, made by mkvariant if the cache has none. It
// is shared as the suite's own is, which it is where nothing is added.
func (v Variant) Tree(ctx context.Context) (string, error) {
	base, err := Tree(ctx, v.Suite)
	if err != nil || len(v.Packages) == 0 && v.Script == "" {
		return base, err
	}
	name := v.Suite + "-" + digest(append([]string{base, mkvariant, v.Script}, v.Packages...)...)
	return cached(ctx, "variants", name, func(dir string, held *os.File) error {
		return runScript(ctx, held, mkvariant, append([]string{base, dir, v.Script}, v.Packages...)...)
	})
}

// Kernel finds the newest kernel of a tree.
func Kernel(tree string) (path, release string, err error) {
	kernels, err := filepath.Glob(filepath.Join(tree, "boot", "vmlinuz-*"))
	if err != nil || len(kernels) == 0 {
		return "", "", fmt.Errorf("no boot/vmlinuz-* in %s", tree)
	}
	slices.Sort(kernels)
	path = kernels[len(kernels)-1]
	return path, strings.TrimPrefix(filepath.Base(path), "vmlinuz-"), nil
}

// digest is a short name for a content.
func digest(texts ...string) string {
	h := sha256.New()
	for _, text := range texts {
		fmt.Fprintf(h, "%d:%s", len(text), text)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:6])
}

// runScript runs one of the scripts that are part of this package, with held
// open for as long as anything in it runs, unless held is nil.
func runScript(ctx context.Context, held *os.File, script string, args ...string) error {
	_, err := scriptOutput(ctx, held, script, args...)
	return err
}

// scriptOutput is runScript, and what the script has printed, also where it fails.
func scriptOutput(ctx context.Context, held *os.File, script string, args ...string) (string, error) {
	f, err := os.CreateTemp("", "sidusboot-script-")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(script)
	if err := errors.Join(err, f.Chmod(0o700), f.Close()); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, f.Name(), args...)
	if held != nil {
		cmd.ExtraFiles = []*os.File{held}
	}
	cmd.WaitDelay = time.Second // do not wait for what a killed script leaves
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w:\n%s", firstComment(script), err, lastLines(string(out), 30))
	}
	return string(out), err
}

// firstComment is the name and purpose of a script, its second line.
func firstComment(script string) string {
	lines := strings.SplitN(script, "\n", 3)
	if len(lines) < 2 {
		return "script"
	}
	return strings.TrimPrefix(lines[1], "# ")
}
