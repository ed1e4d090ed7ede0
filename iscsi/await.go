package iscsi

import (
	"context"
	"errors"
	"time"

	"github.com/sidusboot/sidusboot/clock"
)

const (
	firstLogin = 250 * time.Millisecond
	maxLogin   = 8 * time.Second
	// maxClosed is how often in a row a target may close the connection to an
	// initiator without credentials before that is taken for its way to ask for
	// some. One that is being restarted does it once or twice.
	maxClosed = 5
)

// Await is Connect for a target that may not be up yet: it tries until ctx ends.
// A login that is refused, or that the kernel fails, is not tried again. logf is told
// the first reason to wait.
func (k *Kernel) Await(ctx context.Context, t Target, logf func(format string, args ...any)) (*Session, error) {
	said, closed := false, 0
	for pause := firstLogin; ; pause = min(2*pause, maxLogin) {
		session, err := k.Connect(ctx, t)
		if err == nil {
			return session, nil
		}
		var refused *LoginError
		var kernel *KernelError
		if errors.As(err, &refused) && refused.Final() || errors.As(err, &kernel) {
			return nil, err
		}
		if closed++; !errors.Is(err, ErrNoCredentials) {
			closed = 0
		}
		if closed == maxClosed {
			return nil, err
		}
		if !said {
			logf("waiting for the iSCSI target: %v", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(clock.Jitter(pause)):
		}
	}
}
