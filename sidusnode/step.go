package sidusnode

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/overlay"
)

const (
	// stepVerb is the verb of the processes that do what may hang.
	stepVerb = "step"
	// inspectStep and runStep are steps beside the ways.
	inspectStep = "inspect"
	runStep     = "run"
	// stepLimit is what each step of an update gets.
	stepLimit = time.Minute
	// saidNote is what a step says of what went wrong and does not stop it.
	saidNote = "note"
)

// step has a process do a step, in a mount namespace of its own.
func (u *updater) step(args ...string) (finding, error) {
	said, err := runChild(stepLimit, append([]string{Name, stepVerb}, args...))
	if err != nil && !errors.Is(err, errSilent) {
		return finding{}, err
	}
	r, err := parseRecord(said)
	if err != nil {
		return finding{}, err
	}
	f := found(r)
	return f, f.failed()
}

// run runs a program of the tree: by a process of its own, since to read the program
// may hang.
func (u *updater) run(argv ...string) (string, error) {
	said, err := runChild(stepLimit, append([]string{Name, stepVerb, runStep}, argv...))
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return said, nil
}

// answers is ask for who needs all of it: what failed or had no answer is an error.
func answers(limit time.Duration, probes ...string) (finding, error) {
	f, err := ask(limit, probes...)
	if err == nil {
		err = f.failed()
	}
	return f, err
}

// failed is the error of probes that failed or had no answer.
func (f finding) failed() error {
	if f.silent != "" {
		return fmt.Errorf("no answer about %s: a server or the target of the volume does not answer", f.silent)
	}
	if len(f.failures) > 0 {
		return errors.New(strings.Join(f.failures, "; "))
	}
	return nil
}

// doStep is the process of a step.
func doStep(w io.Writer, args []string) error {
	if len(args) < 2 {
		return errors.New("a step needs arguments")
	}
	if args[0] == runStep {
		program := filepath.Join("/bin", args[1])
		if args[1] == "reboot" {
			program = "/sbin/reboot"
		}
		// What it orders ends what runs on the node, and it too, before it has an answer.
		ignoreEnd()
		return unix.Exec(program, args[1:], os.Environ())
	}
	n, err := known()
	if err != nil {
		return err
	}
	recipe, err := readRecipe()
	if err != nil {
		return err
	}
	var failed error
	say := func(key, value string) {
		if _, err := io.WriteString(w, line(key, value)); err != nil {
			failed = err
		}
	}
	if err := n.inSandbox(say, recipe, args); err != nil {
		say(saidFailure, err.Error())
	}
	say(saidEnd, "")
	return failed
}

// inSandbox does a step in the sandbox.
func (n *node) inSandbox(say func(key, value string), recipe *Recipe, args []string) error {
	way, id := args[0], args[1]
	if err := enterSandbox(); err != nil {
		return err
	}
	say(saidDoing, "version "+id+" on "+n.Base)
	if err := mountVersion(n.Facts, recipe, id); err != nil {
		return err
	}
	switch {
	case way == inspectStep:
		inspect(say, n.kernel, recipe.Init)
		return nil
	case way == soft:
		if err := makeUnion(say, overlay.Kind(n.Union), recipe); err != nil {
			return err
		}
		return offerUnion()
	case way == kexec && len(args) == 4:
		return loadKernel(args[2], args[3])
	}
	return fmt.Errorf("there is no step %q", args)
}
