"""Pages that an agent serves to the person in front of it: who gets in, words, style.

What two parties' pages have in common is here: the door, the languages, the layout, one stylesheet
and one script. What is on a page is the party's own.
"""
