package main

import (
	"errors"
	"fmt"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/source"
)

// withRemedy adds to a stage's error the parameter by which the operator can act
// on it: the packages that the error comes from know no parameters.
func withRemedy(err error) error {
	if remedy := remedyFor(err); remedy != "" {
		return fmt.Errorf("%w: %s", err, remedy)
	}
	return err
}

func remedyFor(err error) string {
	var (
		blank *rwlayer.BlankError
		held  *rwlayer.HeldError
		owner *rwlayer.UnknownOwnerError
		size  *rwlayer.SizeError
		kind  *overlay.KindError
		stop  *rwlayer.MismatchError
	)
	switch {
	case errors.Is(err, source.ErrNoVersions):
		return "see sidus.version="
	case errors.Is(err, iscsi.ErrAuthentication):
		return "see sidus.iscsi.user=, .password=, .user_in= and .password_in="
	case errors.Is(err, iscsi.ErrNoCredentials):
		return "see sidus.iscsi.user= and .password="
	case errors.Is(err, iscsi.ErrNotFound), errors.Is(err, iscsi.ErrBusy):
		return "see sidus.iscsi.target="
	case errors.Is(err, iscsi.ErrRedirects), errors.Is(err, iscsi.ErrNoPortal):
		return "see sidus.iscsi.portal="
	case errors.Is(err, iscsi.ErrNoLUN):
		return "see sidus.iscsi.lun="
	case errors.As(err, &blank):
		return "sidus.mkfs=blank allows it"
	case errors.As(err, &owner):
		return "sidus.rw.adopt=" + owner.UUID
	case errors.As(err, &held) && held.Holder != 0:
		return "if that node will never run again, boot this one once with sidus.rw.takeover=" + held.Holder.String()
	case errors.As(err, &size):
		return "see sidus.rw.size="
	case errors.As(err, &kind):
		return "see sidus.union="
	case errors.As(err, &stop):
		return "see sidus.version= and sidus.rw.mismatch="
	}
	return ""
}
