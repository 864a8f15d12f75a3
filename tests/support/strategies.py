"""Values of fsroute's model for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from fsroute.model import IdentityHeader, IdentityProfile, NumberRole

IDENTITY_PROFILES: st.SearchStrategy[IdentityProfile] = st.builds(
    IdentityProfile,
    st.just("any"),
    st.sampled_from(NumberRole),
    st.sampled_from(IdentityHeader),
    st.sampled_from(NumberRole),
    st.booleans(),
    st.booleans(),
)
"""Every profile that the table identity_profiles can hold, but its name."""
